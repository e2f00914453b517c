"""Boxes of Modal, a service: the same agent, started by one command in a sandbox there."""

from agentlab.sandboxes.modal.backend import ModalBackend

__all__ = ["ModalBackend"]
