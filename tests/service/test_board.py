"""What progress says while a run goes on."""

from __future__ import annotations

from agentlab.service.board import Board
from agentlab.service.trial import Result


def test_the_time_to_go_is_that_of_the_slowest_lane() -> None:
    """Quick questions beside slow boxes promised that the boxes would be as quick."""
    board = Board({"questions": 10, "programs": 10}, {"questions": "plain", "programs": "box"})
    for _ in range(5):
        board.trial_ended("questions", Result("scored", 1.0))
    assert board.eta_s is None, "nothing is known of the boxes yet"
    board.trial_ended("programs", Result("scored", 1.0))
    trials_a_second, seconds = board.rate, board.eta_s
    assert seconds is not None
    assert trials_a_second * seconds >= 6 * 9 * (1 - 1e-9), "nine times as long as the one program took"


def test_trials_of_an_earlier_invocation_say_nothing_of_the_pace() -> None:
    board = Board({"questions": 2})
    board.already("questions", "scored", 1.0)
    assert board.eta_s is None and board.rate == 0
    board.trial_ended("questions", Result("scored", 0.0))
    assert board.eta_s is None, "nothing is left"
    assert board.pace().startswith("2/2 trials")
