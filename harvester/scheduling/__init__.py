"""Decides what to ask next and what an answer or a refusal changes. Pure: time is a parameter."""

__all__ = ["account_queue", "backoff", "listener", "scheduler", "second_questions", "standing"]
