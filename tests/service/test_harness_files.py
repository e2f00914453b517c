"""Harnesses: presets, files, `--set`, and one line for what cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentlab.models.protocol import Sampling
from agentlab.service.config import RunConfig, effective_sampling
from agentlab.service.harness import ConfigError, Harness, load_harness, preset_names
from agentlab.service.prepare import find_tools
from agentlab.tasks import Task

PROTOCOL = Task(sampling=Sampling(temperature=0.2, max_tokens=64, stop=("Q:",)))


def test_the_presets_load() -> None:
    assert preset_names() == ["direct", "tools"]
    assert load_harness("direct").scaffold == "direct"
    agent = load_harness("tools")
    assert (agent.limits.turns, agent.limits.time_s, agent.limits.attempts) == (50, 1800, 3)
    assert agent.explicit == ()


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("sampling.temperature=0.6", "sampling.temperature", 0.6),
        ("sampling.seed=7", "sampling.seed", 7),
        ("sampling.stop=[a, b]", "sampling.stop", ("a", "b")),
        ("sampling.parallel_tool_calls=false", "sampling.parallel_tool_calls", False),
        ("sampling.tool_choice=required", "sampling.tool_choice", "required"),
        (
            "sampling.extra.chat_template_kwargs.enable_thinking=false",
            "sampling.extra",
            {"chat_template_kwargs": {"enable_thinking": False}},
        ),
        ("sampling.max_tokens=null", "sampling.max_tokens", None),
        ("limits.turns=3", "limits.turns", 3),
        ("limits.cost_usd=0.5", "limits.cost_usd", 0.5),
        ("system=Be brief: no words.", "system", "Be brief: no words."),
        ("tools=[bash, submit]", "tools", ("bash", "submit")),
        ("identity.thinking=send", "identity.thinking", "send"),
        ("endpoint.timeout_s=5", "endpoint.timeout_s", 5.0),
        ("box.memory_mb=1024", "box.memory_mb", 1024),
        ("judge=http://h/v1#j", "judge", "http://h/v1#j"),
        ("system=", "system", ""),
        ("system=null", "system", ""),
        ("tools=", "tools", ()),
        ("limits=", "limits.turns", 50),
        ("name=12", "name", "12"),
        ("identity.revision=2024-01-01", "identity.revision", "2024-01-01"),
        ("identity.revision=2024-13-45", "identity.revision", "2024-13-45"),
        ("identity.revision=0123", "identity.revision", "0123"),
        ("identity.revision='0123'", "identity.revision", "0123"),
    ],
)
def test_any_field_can_be_set(setting: str, path: str, value: Any) -> None:
    found: Any = load_harness("tools", (setting,))
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("limits.turns=many",), "--set limits.turns: input should be a valid integer"),
        (("limits={turns: many}",), "--set limits.turns: input should be a valid integer"),
        (("limits.turs=3",), "--set limits.turs: there is no such field; did you mean turns?"),
        (("samplin.seed=3",), "samplin: there is no such field; did you mean sampling?"),
        (("limits.turns=0",), "--set limits.turns: input should be greater than 0, got 0"),
        (("sampling.temperature=.inf",), "--set sampling.temperature: input should be a finite number"),
        (("sampling.temperature.x=1",), "temperature has no fields of its own"),
        (("turns",), "--set turns: write KEY=VALUE"),
        (("=1",), "--set =1: write KEY=VALUE"),
        (("scaffold=tols",), "--set scaffold: input should be 'direct' or 'tools', got 'tols'"),
        (("tools=bash",), "--set tools: input should be a list, got 'bash'; a list has brackets: [bash]"),
        (("sampling.seed=" + "9" * 5000,), "--set sampling.seed: "),
        (("tools=" + "[" * 3000,), "--set tools: input should be a list"),
        (("temperature=0.7",), "temperature: there is no such field; did you mean sampling.temperature?"),
        (
            ("sampling.temperature=-1",),
            "--set sampling.temperature: input should be greater than or equal to 0, got -1",
        ),
        (("sampling.temperature=99",), "--set sampling.temperature: input should be less than or equal to 2, got 99"),
        (("contract=tools/9",), "there is no contract 'tools/9'; there is tools/1"),
        (("tools=[bash]", "contract=tools/1"), "the tools of tools/1 are bash, python, read, edit, submit"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line(settings: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_harness("tools", settings)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\nsampling:\n  temprature: 1\n", ":3: sampling.temprature: there is no such field; did you mean temp"),
        ("name: x\nlimits:\n  turns: many\n", ":3: limits.turns: input should be a valid integer"),
        ("name: x\nlimits:\n  turns: 3\n  turns: 4\n", ":4: turns is given twice"),
        (
            "name: x\nidentity:\n  revision: 0123\n",
            ':3: identity.revision: input should be a valid string, got 83; a text needs quotes: revision: "0123"',
        ),
        ("name: x\nsampling:\n  seed: " + "9" * 5000, "this is not YAML"),
        ("scaffold: tools\n", ":1: name: this field is required"),
        ("name: x\nlimits: [\n", ": this is not YAML"),
        ("name: a\x00b\n", ":1: this is not YAML"),
        ("- name\n", ":1: a harness is a mapping of fields, this is a list"),
        ("", ":1: a harness is a mapping of fields, this is empty"),
    ],
)
def test_a_file_that_cannot_be_used_names_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_harness(str(path))
    assert f"{path}{told}" in str(caught.value) or (str(path) in str(caught.value) and told in str(caught.value))
    assert "\n" not in str(caught.value)


def test_an_empty_group_and_a_date_in_a_file_are_what_they_look_like(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: x\nsystem:\nsampling:\nlimits:\nidentity:\n  revision: 2024-01-01\n  adapter: 1:30\n")
    harness = load_harness(str(path), ("identity.adapter=1:30",))
    assert (harness.system, harness.limits.turns, harness.sampling.temperature) == ("", 50, None)
    assert (harness.identity.revision, harness.identity.adapter) == ("2024-01-01", "1:30")
    assert harness.explicit == ()


def test_names_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match=r"unknown harness 'tols'; did you mean tools\?"):
        load_harness("tols")
    with pytest.raises(ConfigError, match="unknown harness 'zzz'; there are: direct, tools"):
        load_harness("zzz")
    with pytest.raises(ConfigError, match=r"nope\.yaml: there is no such harness file"):
        load_harness("nope.yaml")


def test_a_preset_gives_way_to_what_the_protocol_fixes() -> None:
    sent = effective_sampling(PROTOCOL, load_harness("direct"))
    assert (sent.temperature, sent.max_tokens, sent.stop) == (0.2, 64, ("Q:",))
    free = effective_sampling(Task(), load_harness("direct"))
    assert (free.temperature, free.max_tokens) == (0.0, 4096)


@pytest.mark.parametrize(
    "setting", ["sampling.temperature=0.0", "sampling={temperature: 0.0}", " sampling.temperature=0"]
)
def test_what_the_user_set_wins_also_where_it_says_what_the_preset_says(setting: str) -> None:
    sent = effective_sampling(PROTOCOL, load_harness("direct", (setting,)))
    assert (sent.temperature, sent.stop) == (0.0, ("Q:",))


def test_stop_sequences_of_a_protocol_can_be_taken_away() -> None:
    assert effective_sampling(PROTOCOL, load_harness("direct", ("sampling.stop=[]",))).stop == ()


@pytest.mark.parametrize("spelling", ["own.yaml", "./own.yaml"])
def test_a_users_file_wins_over_the_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    """Found as `./own.yaml`, whose sampling was taken for a preset's."""
    (tmp_path / "own.yaml").write_text("name: own\nsampling:\n  temperature: 0.9\n")
    monkeypatch.chdir(tmp_path)
    sent = effective_sampling(PROTOCOL, load_harness(spelling))
    assert (sent.temperature, sent.max_tokens) == (0.9, 64)


TOOL_FILE = '''
from agentlab.models.tools import tool

@tool
async def lookup(key: str) -> str:
    """Look up."""
    return key

@tool
async def greedy(key: str, *, wallet) -> str:
    """Asks for what nobody has."""
    return key

def plain(key: str) -> str:
    return key
'''
UNTOLD = """from agentlab.models.tools import tool

@tool
def lookup(key: str) -> str:
    return key
"""


def test_tools_come_from_the_contract_and_from_files(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(TOOL_FILE)
    harness = Harness(name="x", scaffold="tools", tools=("bash", f"{path}::lookup"))
    assert list(find_tools(harness)) == ["bash", "lookup"]
    with pytest.raises(ConfigError, match="the direct scaffold offers no tools"):
        find_tools(harness.model_copy(update={"scaffold": "direct"}))
    with pytest.raises(ConfigError, match="the tools scaffold needs tools"):
        find_tools(harness.model_copy(update={"tools": ()}))


def test_a_preset_with_other_tools_does_not_bear_the_name_of_the_contract() -> None:
    assert load_harness("tools", ("limits.turns=3",)).contract == "tools/1"
    assert load_harness("tools", ("tools=[bash, submit]",)).contract == ""


def test_files_that_a_harness_file_names_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "own.py").write_text(TOOL_FILE)
    (tmp_path / "h" / "own.yaml").write_text(
        "name: own\nscaffold: tools\ntools: [bash, own.py::lookup]\nendpoint: {prices: p.yaml, cache: /a/c.sqlite}\n"
    )
    monkeypatch.chdir(tmp_path)
    harness = load_harness("h/own.yaml")
    assert (harness.endpoint.prices, harness.endpoint.cache) == ("h/p.yaml", "/a/c.sqlite")
    assert list(find_tools(harness)) == ["bash", "lookup"]
    assert load_harness("h/own.yaml", ("endpoint.prices=q.yaml",)).endpoint.prices == "q.yaml"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("bsh", "unknown tool 'bsh': there are bash, python"),
        ("{file}::plain", "there is no @tool named 'plain'"),
        ("{file}::absent", "there is no @tool named 'absent'"),
        ("{file}::greedy", "asks for wallet; what can be handed in is sandbox and shell"),
        ("{folder}/absent.py::lookup", "there is no such file of tools"),
        ("{folder}/raises.py::lookup", "this file of tools cannot be read: ZeroDivisionError"),
        ("{folder}/raises.py::lookup", "raises.py:1: "),
        ("{folder}/syntax.py::lookup", "syntax.py:1: this file of tools cannot be read: SyntaxError"),
        ("{folder}/untold.py::lookup", "untold.py:3: this file of tools cannot be read: TypeError: tool 'lookup'"),
    ],
)
def test_a_tool_that_cannot_be_offered_is_one_line(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "own.py").write_text(TOOL_FILE)
    (tmp_path / "raises.py").write_text("1 / 0\n")
    (tmp_path / "syntax.py").write_text("def\n")
    (tmp_path / "untold.py").write_text(UNTOLD)
    spelled = name.format(file=tmp_path / "own.py", folder=tmp_path)
    with pytest.raises(ConfigError) as caught:
        find_tools(Harness(name="x", scaffold="tools", tools=(spelled,)))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_configuration_survives_its_own_json() -> None:
    config = RunConfig(tasks=("a",), model="nop", harness=load_harness("tools", ("sampling.seed=1",)))
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config
