"""Planted and clean traces for the detectors of endings."""

from __future__ import annotations

from agentlab.traces.events import ToolCall
from agentlab.traces.steps import Trace

from .talks import SUM, TRACE, WEEK, Ours, Theirs, airline, question, ran, search, team

BOXED = "Solve for x: 2x = 8. Put your final answer in \\boxed{}."
TAGGED = "Answer the question. Give it inside <answer> and </answer>, without explanations. Question: Who wrote Emma?"

GAVE_UP: tuple[list[Trace], list[Trace]] = (
    [
        question("Who won the 1931 village cup of Ely?", "I do not know who won that cup.").failed(),
        team("Colour of the cell?")
        .expert("A", "There is no colour in the file.")
        .expert("B", "I concur that the task cannot be completed due to the lack of colour data.")
        .expert("A", "TERMINATE")
        .failed(),
        search(Theirs(TAGGED), "Emma", "no results").agent("<answer>None found</answer>").failed(),
        airline("Change the name on my ticket.")
        .tool("get_reservation", {"id": "1"}, "{}")
        .tool("transfer_to_human_agents", {"summary": "Name change asked for"}, "Transfer successful")
        .agent("You are being transferred.")
        .failed(),
        Ours("How many pages has report.pdf?")
        .bash("pdfinfo report.pdf", "bash: pdfinfo: command not found", 127)
        .say("Without a PDF tool I was unable to determine the number of pages.")
        .failed(),
    ],
    [
        question("Who wrote Emma?", "I could not find the exact edition; however, the answer is Jane Austen.").failed(),
        airline("Book me a flight and a hotel.")
        .tool("book", {"id": "1"}, "{}")
        .agent("Your flight is booked. I cannot provide hotels, I'm afraid.")
        .user("Fine.")
        .agent("Have a good trip. I cannot help with hotels.")
        .failed(),
        airline("Refund me.")
        .tool("refund", {"id": "1"}, "{}")
        .tool("transfer_to_human_agents", {"summary": "Refunded; wants a manager"}, "ok")
        .agent("Transferring you.")
        .failed(),
        search(Theirs(TAGGED), "Emma", "Emma is a novel by Jane Austen").agent("<answer>Jane Austen</answer>").failed(),
        question(
            "Why can't a circle be squared?", "Because pi is transcendental: it is no root of a polynomial."
        ).failed(),
    ],
)
BUDGET: tuple[list[Trace], list[Trace]] = (
    [
        Ours(WEEK).bash("ls", "week.py").limit("turn_limit", 50).failed(),
        Ours(WEEK).bash("python slow.py", "").limit("time_limit", 1800).failed(),
        Ours(WEEK).bash("cat big", "...").limit("token_limit", 200_000).failed(),
        Ours(WEEK).bash("ls", "week.py").limit("cost_limit", 1.5).failed(),
        Ours(WEEK).limit("memory_limit", 512).failed(),
    ],
    [
        Ours(WEEK).bash("ls", "week.py").submit().failed(),
        question(SUM, "42", stop="length").failed(),
        Ours(WEEK).bash("sleep 100", "[stopped after 60 s; the shell was restarted]", 124).submit().failed(),
        Ours(WEEK)
        .bash("ls", "week.py")
        .retry("context_length", "maximum context length is 8192")
        .limit("token_limit", 9000)
        .failed(),
        question("What is a turn limit?", "The time limit was reached: it is a budget.").failed(),
    ],
)
CONTEXT: tuple[list[Trace], list[Trace]] = (
    [
        Ours(WEEK)
        .bash("cat big", "x" * 900)
        .retry("context_length", "This model's maximum context length is 8192 tokens", 400)
        .limit("token_limit", 9000)
        .failed(),
        Ours(SUM, tools=False).broke("model", "context_length", "the prompt is longer than the model's context"),
        Ours(WEEK)
        .bash("cat a", "a")
        .retry("bad_request", "prompt is too long: 210000 tokens > 200000 maximum", 400, None)
        .broke("model", "bad_request", "prompt is too long: 210000 tokens"),
        Ours(SUM, tools=False).broke("model", "bad_request", "Requested tokens exceed context window of 4096"),
        Ours(WEEK).bash("cat a", "a").retry("context_length", "400", 413).limit("token_limit", 32_000).failed(),
    ],
    [
        Ours(WEEK).bash("cat big", "...").limit("token_limit", 200_000).failed(),
        Ours(SUM, tools=False).retry("rate_limited", "too many requests", 429).say("42").failed(),
        Ours(SUM, tools=False).broke("model", "timeout", "no answer within 600 s"),
        question("What is a context window?", "The maximum context length of a model in tokens.").failed(),
        Ours(WEEK).bash("grep context_length *.py", "conf.py: context_length = 8").submit().failed(),
    ],
)
TRUNCATED: tuple[list[Trace], list[Trace]] = (
    [
        question(SUM, "First I add the tens, which gives 30, and then", stop="length").failed(),
        question("Write a poem", "Roses are red, violets are", stop="length").failed(),
        Ours(WEEK).bash("ls", "week.py").say("Now I am going to explain at length what", stop="length").failed(),
        Ours(SUM, tools=False).say("", stop="length").failed(),
        question(BOXED, "We divide both sides by", stop="length").passed(),
    ],
    [
        question(SUM, "42").failed(),
        question(SUM, "Let me think about it, and then").failed(),
        Ours(WEEK)
        .say("A long plan that is cut", ToolCall("1", "bash", {"command": "ls"}), stop="length")
        .bash("ls", "week.py")
        .say("Done.")
        .failed(),
        question("What does truncated mean?", "Cut off by a length limit...").failed(),
        Ours(WEEK).bash("ls", "[812 bytes of output were dropped here]").submit().failed(),
    ],
)
FORMAT: tuple[list[Trace], list[Trace]] = (
    [
        question(SUM, "It is a fine sum.").failed(flags=("unparsable",), explanation="no number in the answer"),
        question("Which? A, B or C", "Both A and B might be right.").failed(
            flags=("unparsable",), explanation="the answer settles on no single choice"
        ),
        question(BOXED, "x is 4.").failed(),
        question(SUM, " ").failed(flags=("empty",)),
        search(Theirs(TAGGED), "Emma", "Emma is a novel by Jane Austen").agent("Jane Austen wrote it.").failed(),
        question("Write a function add. Answer with Python code.", "Addition is commutative.").failed(
            flags=("unparsable",), explanation="no Python code was found in the answer"
        ),
    ],
    [
        question(BOXED, "x = \\boxed{5}").failed(),
        question(SUM, "43").failed(),
        search(Theirs(TAGGED), "Emma", "Emma, by Jane Austen").agent("<answer>Mary Shelley</answer>").failed(),
        question(BOXED, "x is 4.").passed(),
        question(BOXED, "We divide both sides by", stop="length").failed(flags=("unparsable", "truncated")),
    ],
)
INFRASTRUCTURE: tuple[list[Trace], list[Trace]] = (
    [
        Ours(SUM, tools=False).retry("connection", "refused").broke("model", "connection", "the endpoint is gone"),
        Ours(WEEK).bash("ls", "week.py").broke("sandbox", "lost", "the box ended without a result"),
        question(SUM, "42").broke("verifier", "timeout", "the grader did not end"),
        ran(
            team("Find it."),
            "requests.get(u)",
            f"{TRACE}requests.exceptions.ConnectionError: HTTPSConnectionPool(host='x.org'): Max retries exceeded",
            1,
        )
        .expert("A", "TERMINATE")
        .failed(),
        search(Theirs("Who?"), "x", '{"error": "503 Service Unavailable: service unavailable"}')
        .agent("Nobody.")
        .failed(),
    ],
    [
        Ours(WEEK).bash("python slow.py", "[stopped after 60 s; the shell was restarted]", 124).submit().failed(),
        Ours(SUM, tools=False).retry("rate_limited", "429", 429).say("42").failed(),
        Ours("Explain the log.")
        .bash("cat server.log", "12:01 connection refused\n12:02 HTTP 503")
        .say("The server was down.")
        .failed(),
        ran(team("Find it."), "f()", f"{TRACE}ValueError: bad value", 1).expert("A", "TERMINATE").failed(),
        question("What does HTTP 503 mean?", "Service Unavailable: too many requests or an outage.").failed(),
    ],
)
CASES: dict[str, tuple[list[Trace], list[Trace]]] = {
    "gave_up": GAVE_UP,
    "budget_ran_out": BUDGET,
    "context_overflow": CONTEXT,
    "truncated_answer": TRUNCATED,
    "wrong_format": FORMAT,
    "infrastructure": INFRASTRUCTURE,
}
