"""Choice letters in free text, and choices by log-likelihood."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest

from agentlab.models.protocol import IMPOSSIBLE
from agentlab.tasks.scorers import choice, choice_loglikelihood, truthfulqa_loglikelihood
from agentlab.tasks.scorers.choice import Choices, extract_choice, lettered
from agentlab.tasks.types import Sample, Score, ScoreContext, Submission, VerifierError
from agentlab.traces.events import ListRecorder

CONTEXT = ScoreContext(sandbox=None, judge=None, recorder=ListRecorder())
TEXTS = ("a red dog", "the cat", "Paris", "none of these")


def letter(answer: str, texts: tuple[str, ...] = TEXTS) -> str | None:
    index = extract_choice(answer, lettered(len(texts), texts))
    return None if index is None else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index]


CLAIMS = [
    ("B", "B"),
    ("b", "B"),
    ("(B)", "B"),
    ("B.", "B"),
    ("**B**", "B"),
    ("[C]", "C"),
    ("B) the cat", "B"),
    ("C: Paris", "C"),
    ("The answer is B", "B"),
    ("the answer is (b).", "B"),
    ("**Answer:** B", "B"),
    ("ANSWER: C", "C"),
    ("Answer (letter only): C", "C"),
    ("answer is: \n\nC", "C"),
    ("\\boxed{B}", "B"),
    ("\\(\\boxed{\\text{(A)}}\\)", "A"),
    ("The final answer is $\\boxed{D}$. A note: B", "D"),
    ("I think it's not B, the answer is C", "C"),
    ("The answer is not B but C", "C"),
    ("The answer isn't B. It's C.", "C"),
    ("Therefore, the answer is C, not B.", "C"),
    ("B is incorrect, so D is correct", "D"),
    ("The answer could be B, but I choose D", "D"),
    ("Answer: A\nWait, no.\nAnswer: D", "D"),
    ("My answer: B. I am certain that A, C and D are false.", "B"),
    ("The answer must be one of A, B, C or D.\nC", "C"),
    ("B. the cat\n\nExplanation: Paris is a city.", "B"),
    ("B. the cat because A is wrong", "B"),
    ("Let me think. A is too big, B is small.\n\nC", "C"),
    ("The answer is A because dogs are red", "A"),
    ("Option D is the best answer.", "D"),
    ("I would go with C", "C"),
    ("Paris", "C"),
    ("The answer is Paris.", "C"),
    ("The answer is a red dog", "A"),
    ("It is the cat that did it", "B"),
]


@pytest.mark.parametrize(("answer", "wanted"), CLAIMS)
def test_the_last_claim_counts(answer: str, wanted: str) -> None:
    assert letter(answer) == wanted


@pytest.mark.parametrize(
    "answer",
    [
        "The answer is B or C",
        "The answer is B, C",
        "Answer: A/B",
        "A and B",
        "A, B, C, D",
        "A) wrong\nB) right\nC) wrong",
        "E",
        "The answer is E",
        "I don't know",
        "A dog barked.",
        "a red dog or the cat",
        "A\nB\nC\nD? I cannot say.",
    ],
)
def test_two_claims_at_once_or_none_are_unparsable(answer: str) -> None:
    sample = Sample(id="1", input="?", target="B", choices=TEXTS)
    score = choice().grade(sample, Submission(answer=answer), CONTEXT)
    assert isinstance(score, Score) and score.value == 0 and score.flags == ("unparsable",)


def test_a_choice_inside_another_is_not_taken_for_it() -> None:
    assert letter("the cat and the dog", ("the cat", "the cat and the dog")) == "B"
    assert letter("It was the cat and the dog who did it", ("the cat", "the cat and the dog")) == "B"


def test_ten_and_twenty_six_choices() -> None:
    texts = tuple(f"option number {index}" for index in range(26))
    assert letter("The answer is J.", texts) == "J"
    assert letter("Z", texts) == "Z"
    assert letter("I think so too", texts[:10]) is None
    with pytest.raises(ValueError, match="26"):
        lettered(27)


@pytest.mark.parametrize(
    ("answer", "right"), [("2", 1), ("The answer is (2).", 1), ("Answer: 12", 0), ("Answer: 3", 0)]
)
def test_numbered_choices(answer: str, right: int) -> None:
    sample = Sample(id="1", input="?", target="2", choices=("x", "y", "z"))
    score = choice(labels="numbers").grade(sample, Submission(answer=answer), CONTEXT)
    assert isinstance(score, Score) and score.value == right


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("Yes", "Yes"),
        ("No.", "No"),
        ("So the answer is **No**.", "No"),
        ("Yes, because it is.", "Yes"),
        ("Answer: Yes\nNote that no one asked.", "Yes"),
        ("yes or no", None),
        ("Not sure", None),
    ],
)
def test_words_as_choices(answer: str, wanted: str | None) -> None:
    index = extract_choice(answer, Choices((), ("Yes", "No")))
    assert (None if index is None else ("Yes", "No")[index]) == wanted


def test_a_denied_word_is_no_claim() -> None:
    validity = Choices((), ("valid", "invalid"))
    assert extract_choice("The argument is invalid.", validity) == 1
    assert extract_choice("The argument is not valid.", validity) is None


@pytest.mark.parametrize("piece", ["answer is B ", "(A) ", "A or ", "is correct ", "not ", "\n\\boxed{A}"])
def test_hostile_repetition_ends_soon(piece: str) -> None:
    started = time.process_time()
    letter(piece * (40_000 // len(piece)))
    assert time.process_time() - started < 5


@pytest.mark.data
def test_cases_of_another_harness_with_known_outputs(reference_data: Path) -> None:
    cases = json.loads((reference_data / "grader_cases_lighteval" / "loglikelihood_acc.json").read_text())["test_cases"]
    for case in cases:
        doc, logprobs = case["doc"], tuple(case["model_response"]["logprobs"])
        gold = doc["gold_index"] if isinstance(doc["gold_index"], list) else [doc["gold_index"]]
        sample = Sample(id="1", input="?", target=tuple("ABCDEFG"[i] for i in gold), choices=tuple(doc["choices"]))
        score = choice_loglikelihood().grade(sample, Submission(logprobs=logprobs), CONTEXT)
        assert isinstance(score, Score)
        assert score.scores["acc"] == case["expected_output"]["acc"], case["name"]
    assert len(cases) >= 10


def test_length_normalisation_changes_the_winner() -> None:
    sample = Sample(id="1", input="?", target="B", choices=("no", "certainly not"))
    submission = Submission(logprobs=(-4.0, -13.0))
    score = choice_loglikelihood().grade(sample, submission, CONTEXT)
    assert isinstance(score, Score) and score.value == 0 and score.scores == {"acc": 0.0, "acc_norm": 1.0}
    normed = choice_loglikelihood(headline="acc_norm").grade(sample, submission, CONTEXT)
    assert isinstance(normed, Score) and normed.value == 1 and normed.answer == "B"


def test_a_model_that_rules_every_choice_out_has_chosen_nothing() -> None:
    sample = Sample(id="1", input="?", target="A", choices=("yes", "no"))
    score = choice_loglikelihood().grade(sample, Submission(logprobs=(IMPOSSIBLE, IMPOSSIBLE)), CONTEXT)
    assert isinstance(score, Score) and (score.value, score.flags) == (0.0, ("empty",))


def test_truthfulqa_mass_and_best_answer() -> None:
    sample = Sample(id="1", input="?", target=("A", "B"), choices=("t1", "t2", "f"), metadata={"true": [0, 1]})
    submission = Submission(logprobs=(math.log(0.2), math.log(0.5), math.log(0.3)))
    score = truthfulqa_loglikelihood().grade(sample, submission, CONTEXT)
    assert isinstance(score, Score)
    # MC1: the best true answer loses to the false one. MC2: 0.7 of the mass is true.
    assert score.value == 0 and score.scores["mc2"] == pytest.approx(0.7)
    assert truthfulqa_loglikelihood(headline="mc2").grade(sample, submission, CONTEXT).value == pytest.approx(0.7)  # type: ignore[union-attr]  # not awaitable


def test_missing_likelihoods_are_the_verifiers_error() -> None:
    sample = Sample(id="1", input="?", target="A", choices=("x", "y"))
    with pytest.raises(VerifierError, match="0 log-likelihoods for 2 choices"):
        choice_loglikelihood().grade(sample, Submission(answer="A"), CONTEXT)
    with pytest.raises(VerifierError, match="not a number"):
        choice_loglikelihood().grade(sample, Submission(logprobs=(math.nan, 0.0)), CONTEXT)


TEN = tuple(f"the text number {number}" for number in range(10))


@pytest.mark.parametrize(
    "words",
    [
        "{}",
        "{}.",
        "{}\n\nExplanation: it follows from the text.",
        "{}, because it follows from the text.",
        "({})\n\nThe text says so.",
        "Therefore {}.",
        "So, {}",
        "The correct option is {}",
        "Result: {}",
        "Answer - {}",
        "<answer>{}</answer>",
        "It follows from the text.\n<answer>\n{}\n</answer>\n",
        "<think>One of them.</think> <Final_Answer>({})</Final_Answer>",
    ],
)
def test_every_letter_is_read_alike(words: str) -> None:
    """A and I are words too, but only with another word behind them."""
    read = {label: letter(words.format(label), TEN) for label in "ABCDEFGHIJ"}
    assert read == {label: label for label in "ABCDEFGHIJ"}


@pytest.mark.parametrize(
    "answer",
    [
        "A good answer needs thought.",
        "I think it is one of them.",
        "I would need A to be larger",
        "A\nfirst\nB\nsecond",
        "<answer></answer>",
    ],
)
def test_articles_pronouns_and_lists_are_no_letters(answer: str) -> None:
    assert letter(answer, TEN) is None


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("Therefore No.", "No"),
        ("So, yes", "Yes"),
        ("Conclusion: No", "No"),
        ("He lies. Thus: yes.", "Yes"),
        ("<answer>No</answer>", "No"),
        ("No news is good news.", ""),
    ],
)
def test_a_conclusion_in_a_word_is_read(answer: str, wanted: str) -> None:
    index = extract_choice(answer, Choices((), ("Yes", "No")))
    assert ("" if index is None else ("Yes", "No")[index]) == wanted
