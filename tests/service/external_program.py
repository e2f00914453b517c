"""A benchmark's own runner, as others write them: it asks the model over HTTP and writes its scores to a file."""

import json
import os
import subprocess
import sys
import urllib.request

ANSWERS = {"one": "1", "two": "2", "three": "3"}


def ask(question):
    body = {"model": "any", "messages": [{"role": "user", "content": question}], "temperature": 0}
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)["choices"][0]["message"]["content"]


def main():
    samples, results, *options = sys.argv[1:]
    if "--fail" in options:
        sys.exit("the benchmark could not be loaded")
    if "--hang" in options:
        subprocess.Popen(["sleep", "1000"]).wait()
    with open(samples) as file:
        wanted = json.load(file)
    found = []
    for name in ANSWERS if wanted == ["all"] else wanted:
        answer = ask("count: " + name)
        found.append(
            {"id": name, "value": float(answer == ANSWERS[name]), "scores": {"length": len(answer)}, "answer": answer}
        )
    if "--gaps" in options:
        found = [found[0], {"id": "two", "error": "its data is missing"}]
    if "--environment" in options:
        kept = [name for name in os.environ if "SECRET" in name]
        found = [{"id": "all", "value": float(not kept)}]
    with open(results, "w") as file:
        json.dump(found, file)


main()
