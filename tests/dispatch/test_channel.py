"""The way of one study to the workers: what travels with its chunks, and what it calls off."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest

from seedwise.dispatch.channel import Channel, Order
from seedwise.model.events import ChunkLost
from seedwise.model.seeds import seed_plan
from seedwise.model.trials import Proposal

PLAN = seed_plan(n_seeds=6, chunk_size=2, seed_start=50)
CHUNKS = list(PLAN.chunks())
PROPOSAL = Proposal(7, {"x": 0.5})


class Dispatcher:
    """Takes note of what it is to send, and of what it is to forget."""

    def __init__(self, topic: str | None = None) -> None:
        self.token = "0123abcd"
        self.topic = topic
        self.sent: list[list[Order]] = []

    @property
    def orders(self) -> list[Order]:
        return [order for orders in self.sent for order in orders]

    def send(self, orders: Sequence[Order]) -> None:
        self.sent.append(list(orders))

    def cancel(self, unwanted: Callable[[Order], bool]) -> None:
        self.sent = [[order for order in orders if not unwanted(order)] for orders in self.sent]


@pytest.fixture
def dispatcher():
    return Dispatcher()


def channel(dispatcher, **more) -> Channel:
    fields = {"loss_id": "walk-1", "loss_name": "walk", "run_name": "walk_v0001", **more}
    return Channel(dispatcher, **fields)


def test_chunks_of_a_trial_are_sent_together_with_what_they_need(dispatcher):
    way = channel(dispatcher, entry_id="anna", chunk_timeout_s=60.0)
    way.submit(PROPOSAL, CHUNKS, attempt=2)
    (orders,) = dispatcher.sent
    assert [order.channel for order in orders] == [way] * 3
    assert [order.trial for order in orders] == [("anna", 7, "")] * 3
    for order, chunk in zip(orders, CHUNKS, strict=True):
        task = order.task
        assert (task.loss_id, task.trial, task.params) == ("walk-1", 7, {"x": 0.5})
        assert (task.entry_id, task.attempt, task.isolated) == ("anna", 2, False)
        assert (task.time_limit_s, task.topic) == (60.0, None)
        assert task.chunk is chunk


def test_what_a_channel_leaves_out_is_left_out(dispatcher):
    channel(dispatcher).submit(PROPOSAL, CHUNKS[:1], 1)
    (order,) = dispatcher.orders
    assert order.trial == (None, 7, "")
    task = order.task
    assert (task.entry_id, task.time_limit_s, task.attempts_dir) == (None, None, None)
    assert task.folder_stem == ""


def test_an_isolated_chunk_says_so(dispatcher):
    channel(dispatcher).submit(PROPOSAL, CHUNKS[1:2], 3, isolated=True)
    (order,) = dispatcher.orders
    assert (order.task.isolated, order.task.attempt) == (True, 3)


def test_the_topic_is_the_dispatchers():
    dispatcher = Dispatcher(topic="seedwise-1")
    channel(dispatcher).submit(PROPOSAL, CHUNKS, 1)
    assert {order.task.topic for order in dispatcher.orders} == {"seedwise-1"}


def test_files_go_to_folders_that_are_called_by_the_trial(dispatcher):
    way = channel(
        dispatcher,
        attempts_dir="/runs/walk_v0001/trials/.attempts",
        folder_stem=lambda number: f"trial_{number:03d}",
    )
    for number in (7, 12):
        way.submit(Proposal(number, {"x": 0.5}), CHUNKS[:1], 1)
    tasks = [order.task for order in dispatcher.orders]
    assert {task.attempts_dir for task in tasks} == {"/runs/walk_v0001/trials/.attempts"}
    assert [task.folder_stem for task in tasks] == ["trial_007", "trial_012"]


# What is called off.


def left(dispatcher, way) -> list[tuple[int, int]]:
    return [
        (order.task.trial, order.task.chunk.index)
        for order in dispatcher.orders
        if order.channel is way
    ]


def test_a_trial_is_called_off_from_a_chunk_on(dispatcher):
    way = channel(dispatcher)
    for number in (7, 8):
        way.submit(Proposal(number, {"x": 0.5}), CHUNKS, 1)
    way.cancel(7, first_chunk=1)
    assert left(dispatcher, way) == [(7, 0), (8, 0), (8, 1), (8, 2)]
    way.cancel(8)
    assert left(dispatcher, way) == [(7, 0)]


def test_what_another_channel_sent_is_not_called_off(dispatcher):
    one, other = channel(dispatcher), channel(dispatcher)
    for way in (one, other):
        way.submit(PROPOSAL, CHUNKS, 1)
    one.cancel(7)
    assert left(dispatcher, one) == []
    assert left(dispatcher, other) == [(7, 0), (7, 1), (7, 2)]


# Keys.


@pytest.mark.parametrize(
    ("loss_name", "prefix"),
    [
        ("walk", "walk"),
        ("Walk 2", "Walk_2"),
        ("2 walks", "loss_2_walks"),
        ("_walk", "loss__walk"),
        ("größe-x", "gr__e_x"),
        ("中", "loss__"),
    ],
)
def test_the_key_begins_with_a_word_that_dask_takes_for_a_name(dispatcher, loss_name, prefix):
    stem = channel(dispatcher, loss_name=loss_name).key_stem
    assert stem == f"{prefix}-walk_v0001-0123abcd"
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", prefix)


def test_the_parts_of_a_run_share_no_key_with_one_another_or_with_other_entries(dispatcher):
    names = ("run-a", "run-a-validation-1", "run-a-validation")
    parts = ("", "validation-1", "validation-2")
    ways = [channel(dispatcher, run_name=name, part=part) for name in names for part in parts]
    assert len({way.key_stem for way in ways}) == len(ways)
    for way in ways:
        way.submit(PROPOSAL, CHUNKS[:1], 1)
    trials = [order.trial for order in dispatcher.orders]
    assert trials == [(None, 7, part) for _ in names for part in parts]
    assert [order.task.part for order in dispatcher.orders] == [*parts] * 3


def test_lost_chunks_are_told_to_whom_it_concerns(dispatcher):
    lost: list[ChunkLost] = []
    way = channel(dispatcher, on_lost=lost.append)
    event = ChunkLost(7, 50, "tcp://a:1")
    way.on_lost(event)
    assert lost == [event]
