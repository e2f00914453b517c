"""Finding tasks by name, variants, files of users, plug-ins, suites, and what is reported of the broken ones."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest

from agentlab.tasks import (
    Sample,
    Score,
    ScoreContext,
    Scorer,
    Submission,
    Suite,
    Task,
    TaskDefinition,
    discover,
    list_tasks,
    resolve,
    suite,
    task,
)
from agentlab.tasks.registry import Catalog, load_file
from agentlab.tasks.template import task_file
from agentlab.tasks.types import FewShot, TaskError
from agentlab.traces.events import ListRecorder

RIGHT = Scorer("right", lambda sample, submission, context: Score(value=1.0))
SOURCE = """
from agentlab.tasks import *
from agentlab.tasks import MemorySource
RIGHT = Scorer("right", lambda sample, submission, context: Score(value=1.0))
def made(**fields):
    return Task(samples=[Sample(id="1", input="q", target="a")], scorers=[RIGHT], **fields)
"""


def made(**fields: object) -> Task:
    return Task(samples=[Sample(id="1", input="q", target="a")], scorers=[RIGHT], **fields)  # type: ignore[arg-type]  # free


def file_of(folder: Path, body: str, name: str = "my_tasks.py") -> Path:
    path = folder / name
    path.write_text(SOURCE + body)
    return path


def catalog_of(*entries: TaskDefinition | Suite) -> Catalog:
    catalog = Catalog()
    for entry in entries:
        catalog.add(entry, "test", "here")
    return catalog


class TestDecorator:
    def test_a_function_becomes_a_task_named_after_it(self) -> None:
        @task
        def sums() -> Task:
            """Sums in the head.

            More is not shown.
            """
            return made()

        built = sums()
        assert (built.name, built.description) == ("sums", "Sums in the head.")
        assert built.origin.startswith(__file__)

    def test_samples_of_a_generator_can_be_read_twice(self) -> None:
        @task(name="streamed")
        def anything() -> Task:
            return Task(samples=(Sample(id=str(i), input="q") for i in range(3)), scorers=[RIGHT])

        built = anything()
        assert (
            [sample.id for sample in built.samples or ()]
            == [sample.id for sample in built.samples or ()]
            == ["0", "1", "2"]
        )

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"samples": None}, "samples or a source"),
            ({"scorers": []}, "no scorer"),
            ({"prompt": "Answer!"}, r"must hold \{input\}"),
            ({"requires": "shell"}, r"\('shell',\)"),
            ({"samples": ["text"]}, "must all be Sample"),
        ],
    )
    def test_a_task_that_cannot_run_is_refused(self, fields: dict[str, object], message: str) -> None:
        @task
        def wrong() -> Task:
            return Task(**({"samples": [Sample(id="1", input="q")], "scorers": [RIGHT]} | fields))  # type: ignore[arg-type]  # free

        with pytest.raises(TaskError, match=message):
            wrong()


class TestVariants:
    def catalog(self) -> Catalog:
        from agentlab.tasks import MemorySource

        @task(variants={"raw": {"prompt_mode": "raw"}, "hard": {"level": 3}})
        def sums(level: int = 1, style: str = "plain", *, ratio: float = 0.5) -> Task:
            examples = FewShot(MemorySource([{"id": "e", "input": "q", "target": "a"}] * 9), n=0)
            return made(description=f"{level} {style} {ratio}", fewshot=examples)

        @task
        def bare() -> Task:
            return made()

        return catalog_of(sums, bare)

    def test_shots_fields_and_parameters(self) -> None:
        names = ["sums:3shot", "sums:raw", "sums:hard", "sums:level=7:raw", "sums:style=12", "sums:ratio=2"]
        found = resolve(names, self.catalog())
        assert not found.errors
        shots, raw, hard, level, style, ratio = found.tasks
        assert [made.name for made in found.tasks] == names
        assert shots.fewshot is not None and shots.fewshot.n == 3
        assert raw.prompt_mode == "raw"
        assert hard.description == "3 plain 0.5"
        assert (level.description, level.prompt_mode) == ("7 plain 0.5", "raw")
        assert style.description == "1 12 0.5", "a text parameter stays text"
        assert ratio.description == "1 plain 2.0"

    def test_a_date_is_the_text_that_was_typed(self) -> None:
        @task
        def dated(revision: str | None = None) -> Task:
            return made(description=repr(revision))

        found = resolve(["dated:revision=2024-01-01", "dated:revision=2024-13-45"], catalog_of(dated))
        assert [made.description for made in found.tasks] == ["'2024-01-01'", "'2024-13-45'"]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("bare:3shot", "bare declares no few-shot examples"),
            (
                "sums:loud",
                "no variant 'loud'. Named variants: raw, hard. Parameters: level, style, ratio. Few-shot: Nshot",
            ),
            ("sums:size=1", "no parameter 'size'"),
            ("sums:level=many", "level must be a whole number, not 'many'"),
        ],
    )
    def test_a_wrong_variant_says_what_there_is(self, name: str, message: str) -> None:
        found = resolve([name], self.catalog())
        assert not found.tasks
        assert message in found.errors[0].message


class TestFiles:
    def test_all_tasks_of_a_file_or_one_of_them(self, tmp_path: Path) -> None:
        path = file_of(tmp_path, "@task\ndef one(): return made()\n@task(name='second')\ndef two(): return made()\n")
        assert [made.name for made in resolve([str(path)]).tasks] == ["one", "second"]
        assert [made.name for made in resolve([f"{path}::second"]).tasks] == ["second"]
        assert resolve([str(path)]).tasks[0].origin == f"{path}:{len(SOURCE.splitlines()) + 1}"

    def test_a_file_that_was_changed_at_once_and_not_in_length_is_read_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "dont_write_bytecode", False)
        for name in ("one", "two"):
            path = file_of(tmp_path, f"@task\ndef {name}(): return made()\n")
            os.utime(path, (1_000_000_000, 1_000_000_000))
            assert [made.name for made in resolve([str(path)]).tasks] == [name]

    def test_imported_tasks_are_not_the_files_own(self, tmp_path: Path) -> None:
        file_of(tmp_path, "@task\ndef original(): return made()\n", "neighbour_tasks.py")
        path = file_of(tmp_path, "from neighbour_tasks import original\n@task\ndef mine(): return made()\n")
        assert list(load_file(path).entries) == ["mine"]

    def test_data_lies_beside_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "q.jsonl").write_text('{"id": "1", "input": "q", "target": "a"}\n')
        path = file_of(tmp_path, "@task\ndef own(): return Task(source=DataSource('q.jsonl'), scorers=[RIGHT])\n")
        from agentlab.tasks import load_samples

        assert [sample.input for sample in load_samples(resolve([str(path)]).tasks[0])] == ["q"]

    @pytest.mark.parametrize(
        ("body", "kind", "line", "message"),
        [
            ("def broken(:\n", "import", 1, "SyntaxError"),
            ("x = 1\nx.upper()\n", "import", 2, "AttributeError: 'int' object has no attribute 'upper'"),
            ("import json\n\njson.loads('{')\n", "import", 3, "JSONDecodeError"),
            ("raise SystemExit(3)\n", "import", 1, "SystemExit: 3"),
            ("@task\ndef own():\n    return 1 / 0\n", "invalid", 3, "own() raises ZeroDivisionError"),
            ("@task\ndef own():\n    return 'text'\n", "invalid", 1, "must return a Task, got str"),
        ],
    )
    def test_a_broken_file_harms_nothing_beside_it(
        self, tmp_path: Path, body: str, kind: str, line: int, message: str
    ) -> None:
        broken = file_of(tmp_path, body, "broken_tasks.py")
        good = file_of(tmp_path, "@task\ndef good(): return made()\n")
        found = resolve([str(broken), str(good)])
        assert [made.name for made in found.tasks] == ["good"]
        (problem,) = found.errors
        assert problem.kind == kind
        assert problem.where == f"{broken}:{line + len(SOURCE.splitlines())}"
        assert message in problem.message

    @pytest.mark.parametrize(
        ("variant", "message"),
        [
            ("style=foo", "own:style=foo: style: 'foo' is neither chat nor raw"),
            ("level=high", "own: level must be a whole number, not 'high'"),
            ("speed=1", "own has no parameter 'speed'; it has: style, level"),
            ("hard", "own has no variant 'hard'. Parameters: style, level. Few-shot: Nshot"),
            ("3shot", "own:3shot: own declares no few-shot examples"),
        ],
    )
    def test_a_variant_that_is_not_to_be_had_is_a_sentence_about_what_was_typed(
        self, tmp_path: Path, variant: str, message: str
    ) -> None:
        """It named the line of the task's function, as if that were broken."""
        body = """
            @task
            def own(style='chat', level=1):
                if style not in ('chat', 'raw'):
                    raise ValueError(f'style: {style!r} is neither chat nor raw')
                return made()
        """
        (problem,) = resolve([f"{file_of(tmp_path, textwrap.dedent(body))}::own:{variant}"]).errors
        assert str(problem) == message

    def test_a_file_that_is_not_there_and_one_without_tasks(self, tmp_path: Path) -> None:
        empty = file_of(tmp_path, "")
        found = resolve([str(tmp_path / "absent.py"), f"{tmp_path / 'absent.py'}::x", str(empty), f"{empty}::nothing"])
        assert [(problem.kind, problem.message.split(";")[0]) for problem in found.errors] == [
            ("unknown", "no such task file"),
            ("invalid", "declares no task: decorate a function with @task"),
            ("unknown", f"unknown task '{empty}::nothing'"),
        ]

    def test_two_files_with_the_same_name_inside(self, tmp_path: Path) -> None:
        a = file_of(tmp_path, "@task\ndef same(): return made()\n", "a_tasks.py")
        b = file_of(tmp_path, "@task\ndef same(): return made()\n", "b_tasks.py")
        found = resolve([str(a), str(b), str(a)])
        assert len(found.tasks) == 1
        assert [problem.kind for problem in found.errors] == ["duplicate"]

    def test_the_template_of_init_is_short_and_runs(self, tmp_path: Path) -> None:
        path = tmp_path / "arithmetic.py"
        path.write_text(task_file("arithmetic"))
        found = resolve([f"{path}::arithmetic"])
        assert not found.errors
        (made,) = found.tasks
        context = ScoreContext(None, None, ListRecorder())
        for sample in made.samples or ():
            grade = made.scorers[0].grade
            right, nothing = (grade(sample, Submission(answer=said), context) for said in (str(sample.target), ""))
            assert isinstance(right, Score) and isinstance(nothing, Score)
            assert (right.value, nothing.value) == (1.0, 0.0)
        body = path.read_text().split('"""', 2)[2]
        assert len([line for line in body.splitlines() if line.strip() and not line.startswith("#")]) < 15
        with pytest.raises(TaskError, match="no name for a task file"):
            task_file("my-task")


class TestDiscovery:
    def test_an_unknown_name_suggests_the_nearest(self) -> None:
        @task
        def humaneval() -> Task:
            return made()

        (problem,) = resolve(["humanevl"], catalog_of(humaneval)).errors
        assert problem.kind == "unknown"
        assert problem.message == "unknown task 'humanevl'; did you mean 'humaneval'?"

    def test_entry_points_are_found_and_broken_ones_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file_of(
            tmp_path, "@task\ndef plugged(): return made()\n@task\ndef twice(): return made()\n", "good_plugin_tasks.py"
        )
        file_of(tmp_path, "@task\ndef twice(): return made()\nlone = 3\n", "second_plugin_tasks.py")
        file_of(tmp_path, "raise RuntimeError('no licence key')\n", "bad_plugin_tasks.py")
        info = tmp_path / "some_plugins-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-plugins\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[agentlab.tasks]\na = good_plugin_tasks\nb = bad_plugin_tasks\nc = second_plugin_tasks:twice\n"
            "d = second_plugin_tasks:lone\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        catalog = discover()
        assert {"plugged", "twice"} <= catalog.entries.keys()
        assert [made.name for made in resolve(["plugged"], catalog).tasks] == ["plugged"]
        own = {problem.name: problem for problem in catalog.problems}
        assert own["b"].where == f"{tmp_path / 'bad_plugin_tasks.py'}:{len(SOURCE.splitlines()) + 1}"
        assert "RuntimeError: no licence key" in own["b"].message
        assert own["twice"].kind == "duplicate"
        assert "entry point of some-plugins" in own["twice"].where
        assert own["d"].kind == "invalid" and "not int" in own["d"].message
        assert resolve(["b"], catalog).errors[0].kind == "import", "asked for by name, it says why it is not there"
        for name in ("good_plugin_tasks", "second_plugin_tasks"):
            sys.modules.pop(name)

    def test_the_built_in_tasks_are_all_sound(self) -> None:
        catalog = discover(plugins=False)
        assert not catalog.problems
        found = resolve(list(catalog.entries), catalog)
        assert not found.errors
        assert {info.name for info in list_tasks(catalog)} == catalog.entries.keys()


class TestSuites:
    def catalog(self, *suites: Suite) -> Catalog:
        @task
        def one() -> Task:
            return made()

        @task(variants={"raw": {"prompt_mode": "raw"}})
        def two() -> Task:
            return made(requires=("shell",), licence="MIT")

        return catalog_of(one, two, *suites)

    def test_members_nest_and_run_once(self) -> None:
        catalog = self.catalog(
            Suite(name="inner", tasks=("two:raw", "one")), Suite(name="outer", tasks=("one", "inner"))
        )
        found = resolve(["outer", "one"], catalog)
        assert [made.name for made in found.tasks] == ["one", "two:raw"]
        (outer,) = found.suites
        assert outer.tasks() == ("one", "two:raw")

    def test_suites_that_contain_each_other_are_refused(self) -> None:
        catalog = self.catalog(Suite(name="a", tasks=("one", "b")), Suite(name="b", tasks=("a", "two")))
        found = resolve(["a"], catalog)
        assert [problem.message for problem in found.errors] == ["suites contain each other: a > b > a"]
        assert [made.name for made in found.tasks] == ["one", "two"]

    def test_an_unknown_member_names_its_suite(self) -> None:
        found = resolve(["a"], self.catalog(Suite(name="a", tasks=("one", "tow"))))
        assert found.errors[0].message == "unknown task 'tow' (in suite a); did you mean 'two'?"
        assert found.suites[0].failed == ("tow",)

    def test_a_suite_of_a_file_uses_the_files_tasks(self, tmp_path: Path) -> None:
        path = file_of(tmp_path, "@task\ndef x(): return made()\nboth = Suite(name='both', tasks=('x',))\n")
        found = resolve([f"{path}::both"])
        assert [made.name for made in found.tasks] == ["x"]
        assert not found.errors

    def test_a_suite_may_be_a_function(self) -> None:
        @suite
        def basics() -> Suite:
            """What everyone should pass."""
            return Suite(name="", tasks=("one",))

        assert (basics.name, basics.description) == ("basics", "What everyone should pass.")

    def test_the_list_shows_what_one_wants_to_know(self) -> None:
        infos = {info.name: info for info in list_tasks(self.catalog(Suite(name="a", tasks=("one",))))}
        assert infos["a"].kind == "suite" and infos["a"].members == ("one",)
        assert infos["two"].requires == ("shell",)
        assert (infos["two"].licence, infos["two"].variants, infos["two"].group) == ("MIT", ("raw",), "test")
