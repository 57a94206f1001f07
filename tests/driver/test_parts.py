"""What a run is made of, packed into its folder and out of it again."""

from __future__ import annotations

import base64
import enum
import pickle
import sys
import threading
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import attrs
import numpy as np
import optuna
import pytest

import seedwise as sw
from seedwise.driver.parts import (
    Saved,
    entry_parts,
    make_parts,
    named_as_before,
    plan_of,
    read_saved,
    require_cluster,
    save,
    saved_version,
)
from seedwise.driver.same_run import CodeIdentity, loss_text
from seedwise.errors import LossTransportError, NotARunError, OptionError
from seedwise.folder.find import open_run_directory
from seedwise.folder.history import changed
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions
from seedwise.model.sources import grid, manual, random
from seedwise.study.smoothed import SmoothedGPSampler, SmoothedTPESampler
from seedwise.usercode.importing import senders
from seedwise.usercode.pack import Packed
from tests.builders import code
from tests.losses import SPACE, bowl, bowls

KEYWORDS = {
    "n_trials": 7,
    "seeds": [5, 3, 9],
    "chunk_size": 2,
    "random_seed": 1,
    "mode": sw.ExecutionMode.DISTRIBUTED,
    "worker_time_limit": timedelta(hours=1),
    "workers": (1, 4),
    "sampler": optuna.samplers.TPESampler(seed=3),
    "slurm": sw.SlurmOptions(partition="cpu"),
    "entry_id": "subject 7",
    "timeout": 60.0,
}


@pytest.fixture
def directory(tmp_path):
    directory = open_run_directory(tmp_path, "mine", "bowl")
    directory.meta.write({})
    return directory


def options(**keywords) -> RunOptions:
    return RunOptions.from_keywords(keywords)


def through(directory, parts) -> Saved:
    save(parts, directory)
    return read_saved(directory)


# What a run is made of.


def test_the_seeds_begin_where_the_loss_says():
    from_5 = sw.loss(name="from 5", description="a bowl", parameter_space=SPACE, seed_start=5)(
        bowl.function
    )
    plan = make_parts(from_5, options(n_seeds=4, num_chunks=2)).plan
    assert [chunk.seeds.tolist() for chunk in plan.chunks()] == [[5, 6], [7, 8]]


def test_the_sampler_is_seeded_and_one_of_the_users_is_copied():
    assert isinstance(make_parts(bowl, options()).sampler, optuna.samplers.TPESampler)
    own = optuna.samplers.RandomSampler(seed=1)
    parts = make_parts(bowl, options(sampler=own))
    assert parts.sampler is not own
    assert type(parts.sampler) is type(own)


def test_a_loss_that_can_not_be_pickled_is_refused():
    numbers = (i for i in range(3))

    @sw.loss(name="drawn", description="holds a generator", parameter_space={"x": (0, 1)})
    def drawn(params, seed):
        return next(numbers)

    with pytest.raises(LossTransportError, match="cannot pickle 'generator'"):
        make_parts(drawn, options())


class Copied(optuna.samplers.RandomSampler):
    """A sampler with a generator, which can be copied all the same."""

    def __init__(self) -> None:
        super().__init__(seed=1)
        self.numbers = (i for i in range(3))

    def __deepcopy__(self, memo):
        return Copied()


class Drawn(optuna.samplers.RandomSampler):
    def __init__(self) -> None:
        super().__init__(seed=1)
        self.numbers = (i for i in range(3))


@pytest.mark.parametrize(
    "sampler",
    [
        Copied(),
        Drawn(),
    ],
)
def test_a_sampler_that_can_not_be_saved_is_refused(sampler):
    with pytest.raises(OptionError, match=r"one that can be (copied|pickled)") as caught:
        make_parts(bowl, options(sampler=sampler))
    assert (caught.value.name, caught.value.value) == ("sampler", sampler)


# Of the three kinds of runs.

POINT = {"x": 0.5, "rate": 0.1, "n": 3, "kind": "plain", "flip": True}
SOURCES = [
    grid(**{name: [value] for name, value in POINT.items()}),
    random({name: sw.choice([value]) for name, value in POINT.items()}, n_trials=10**12, seed=3),
    manual([POINT, {**POINT, "x": 7.0}], tags=["pilot"]),
]
ENTRIES = {"entry_ids": ["anna", "ben"], "n_trials": 7, "random_seed": 40}


def test_a_sweep_has_a_source_and_no_sampler():
    for source in SOURCES:
        parts = make_parts(bowl, SweepOptions.from_keywords({}), source=source)
        assert parts.source is source
        assert parts.sampler is None
        assert "source" in parts.depends_on
        assert not parts.depends_on.keys() & {"sampler", "random_seed", "max_concurrent_trials"}
    assert make_parts(bowl, options()).source is None


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
def test_the_source_is_saved(directory, source):
    first = make_parts(bowl, SweepOptions.from_keywords({"n_seeds": 3}), source=source)
    saved = through(directory, first)
    assert saved.kind is SweepOptions
    assert saved.source == source
    assert saved.source.to_manifest_dict() == source.to_manifest_dict()
    checked = saved.kind.from_keywords(saved.keywords)
    again = make_parts(saved.loss, checked, saved.source, saved)
    assert changed(first.depends_on, again.depends_on) == {}


@pytest.mark.parametrize(
    ("kind", "keywords"), [(RunOptions, {}), (EntriesOptions, ENTRIES), (SweepOptions, {})]
)
def test_the_kind_of_a_run_is_saved(directory, kind, keywords):
    source = SOURCES[0] if kind is SweepOptions else None
    saved = through(directory, make_parts(bowl, kind.from_keywords(keywords), source=source))
    assert saved.kind is kind
    assert (saved.source is None) == (source is None)


def test_points_that_the_loss_does_not_take_are_refused():
    with pytest.raises(OptionError, match=r"source=.*missing: \['x'\]"):
        make_parts(
            bowl,
            SweepOptions.from_keywords({}),
            source=grid(**{name: [value] for name, value in POINT.items() if name != "x"}),
        )
    with pytest.raises(OptionError, match=r"overrides=\['y'\]: must be names of the loss's"):
        make_parts(bowl, options(overrides={"y": 3}))


def test_the_parts_of_an_entry_are_those_of_a_run_of_its_own():
    of_entries = EntriesOptions.from_keywords(ENTRIES)
    parts = make_parts(bowl, of_entries)
    for index, entry in enumerate(ENTRIES["entry_ids"]):
        own = of_entries.of_entry(index)
        mine = entry_parts(parts, own)
        alone = options(n_trials=7, random_seed=40 + index, entry_id=entry)
        assert changed(mine.depends_on, make_parts(bowl, alone).depends_on) == {}
        assert (mine.loss, mine.plan, mine.packed) == (parts.loss, parts.plan, parts.packed)
    samplers = [entry_parts(parts, of_entries.of_entry(index)).sampler for index in (0, 1, 1)]
    assert len({id(sampler) for sampler in samplers}) == 3


def test_the_sampler_of_an_entry_is_the_one_that_it_would_have_alone():
    of_entries = EntriesOptions.from_keywords(ENTRIES)
    parts = make_parts(bowl, of_entries)

    def first_points(sampler) -> list[dict]:
        study = optuna.create_study(sampler=sampler)
        space = {"x": optuna.distributions.FloatDistribution(0, 1)}
        return [study.ask(space).params for _ in range(3)]

    points = [
        first_points(entry_parts(parts, of_entries.of_entry(index)).sampler) for index in (0, 1)
    ]
    assert points == [
        first_points(make_parts(bowl, options(random_seed=seed)).sampler) for seed in (40, 41)
    ]
    assert points[0] != points[1]


SAMPLERS = [
    ("auto", "auto", SmoothedTPESampler),
    ("auto", True, SmoothedTPESampler),
    ("auto", False, optuna.samplers.TPESampler),
    ("tpe", "auto", optuna.samplers.TPESampler),
    ("gp", "auto", SmoothedGPSampler),
    ("gp", True, SmoothedGPSampler),
    ("gp", False, optuna.samplers.GPSampler),
]


@pytest.mark.parametrize(("sampler", "race", "of_class"), SAMPLERS)
def test_samplers_see_smoothed_values_where_a_race_saves_seeds(
    sampler, race, of_class, monkeypatch
):
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))  # large: it need only be found
    parts = make_parts(bowl, options(sampler=sampler, race=race, n_seeds=64))
    assert type(parts.sampler) is of_class


# What the folder holds of it.


def test_the_keywords_are_saved_as_they_were_given(directory):
    saved = through(directory, make_parts(bowl, options(**KEYWORDS)))
    sampler = saved.keywords.pop("sampler")
    assert isinstance(sampler, optuna.samplers.TPESampler)
    assert saved.keywords == {name: KEYWORDS[name] for name in KEYWORDS if name != "sampler"}


#: Their number by default, which is saved: another chunk_size would give another.
SEEDS = {"n_seeds": 1000}


def test_what_is_left_at_its_default_is_not_saved(directory):
    assert through(directory, make_parts(bowl, options())).keywords == SEEDS
    saved = through(directory, make_parts(bowl, options(n_trials=10)))
    assert saved.keywords == {"n_trials": 10, **SEEDS}


def test_what_is_of_a_call_and_not_of_the_run_is_not_saved(directory):
    of_the_call = {
        "accept_changes": True,
        "take_over": True,
        "run_root": Path("elsewhere"),
        "run_name": "mine",
        "clean_run_dir": True,
        "assume_yes": True,
        "insecure": True,
        "refine_search_factor": 0.5,
    }
    saved = through(directory, make_parts(bowl, options(**of_the_call, n_trials=3)))
    assert saved.keywords == {"n_trials": 3, **SEEDS}


def test_what_is_of_a_call_of_entries_or_of_a_sweep_is_not_saved(directory):
    keywords = {**ENTRIES, "run_name_prefix": "mine", "max_concurrent_entries": 1}
    saved = through(directory, make_parts(bowl, EntriesOptions.from_keywords(keywords)))
    assert saved.keywords == {
        **ENTRIES,
        "entry_ids": ["anna", "ben"],  # as JSON has it
        "max_concurrent_entries": 1,
        **SEEDS,
    }
    keywords = {"trial_nums": [0], "retry_failed": True, "run_name": "mine", "n_seeds": 3}
    again = SweepOptions.from_keywords(keywords)
    saved = through(directory, make_parts(bowl, again, source=SOURCES[0]))
    assert saved.keywords == {"n_seeds": 3}


def test_points_to_try_and_values_to_hold_are_saved(directory):
    keywords = {
        "overrides": {"n": 4},
        "trial_zero": {"x": 0.25},
        "enqueue": manual([{"x": 0.5}, {"x": 1.0}]),
        **SEEDS,
    }
    first = make_parts(bowl, options(**keywords))
    saved = through(directory, first)
    assert saved.keywords == keywords
    again = make_parts(saved.loss, options(**saved.keywords), saved=saved)
    assert changed(first.depends_on, again.depends_on) == {}


def test_seeds_that_can_be_read_only_once_are_saved(directory):
    saved = through(directory, make_parts(bowl, options(seeds=iter([5, 3, 9]))))
    assert saved.keywords == {"seeds": [5, 3, 9]}
    assert [type(seed) for seed in saved.keywords["seeds"]] == [int] * 3


@pytest.mark.parametrize("loss", [bowl, bowls])
def test_the_loss_is_saved(loss, directory):
    saved = through(directory, make_parts(loss, options()))
    again = saved.packed.shipment.load(as_imported=True)
    params = {"x": 0.25, "rate": 0.1, "n": 3, "kind": "fancy", "flip": True}
    assert again is loss  # this process has imported its module already
    assert saved.loss.function is not loss.function
    assert (saved.loss.name, saved.loss.parameter_space) == (loss.name, loss.parameter_space)
    assert (again.name, again.parameter_space) == (loss.name, loss.parameter_space)
    seeds = make_parts(loss, options()).plan.seeds[:3]
    for arg in [seeds] if loss.vectorized else seeds.tolist():
        assert np.array_equal(again(params, arg), loss(params, arg))


@pytest.mark.parametrize("loss", [bowl, bowls])
def test_a_run_from_its_folder_depends_on_the_same(loss, directory):
    first = make_parts(loss, options(**KEYWORDS))
    for _ in range(2):
        saved = through(directory, first)
        again = make_parts(saved.loss, options(**saved.keywords), saved=saved)
        assert changed(first.depends_on, again.depends_on) == {}
        assert again.plan.seeds.tolist() == first.plan.seeds.tolist()
        assert again.packed.shipment.id == first.packed.shipment.id
        first = again


def test_another_sampler_is_another_run(directory):
    parts = make_parts(bowl, options(**KEYWORDS))
    saved = through(directory, parts)
    for sampler, changes in (
        ("random", {"sampler"}),
        (optuna.samplers.TPESampler(seed=4), {"sampler"}),
        (optuna.samplers.TPESampler(seed=3), set()),
    ):
        keywords = {**saved.keywords, "sampler": sampler, "n_trials": 99}
        other = make_parts(saved.loss, options(**keywords), saved=saved)
        assert set(changed(parts.depends_on, other.depends_on)) == changes


def test_a_keyword_that_is_given_now_is_saved_next(directory):
    saved = through(directory, make_parts(bowl, options(**KEYWORDS)))
    keywords = {**saved.keywords, "n_trials": 9, "accept_changes": True}
    again = through(directory, make_parts(bowl, options(**keywords), saved=saved))
    assert again.keywords["n_trials"] == 9
    assert again.keywords.keys() == KEYWORDS.keys()


# Clusters.


class Cluster:
    """Something that looks like a Dask cluster, and can't be pickled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def scheduler_info(self) -> dict:
        return {}


def test_a_cluster_that_was_passed_is_to_be_passed_again(directory):
    saved = through(directory, make_parts(bowl, options(cluster=Cluster(), n_trials=3)))
    with pytest.raises(OptionError, match="was begun on a Dask cluster that was passed") as caught:
        require_cluster(saved.keywords)
    assert caught.value.name == "cluster"
    for given in (Cluster(), "local", "slurm", "tcp://node:8786", None):
        require_cluster({**saved.keywords, "cluster": given})


@pytest.mark.parametrize("cluster", ["local", "slurm", "tcp://node:8786", None])
def test_a_cluster_that_was_named_is_saved(cluster, directory):
    saved = through(directory, make_parts(bowl, options(cluster=cluster)))
    assert saved.keywords == {"cluster": cluster, **SEEDS}
    require_cluster(saved.keywords)
    require_cluster({})


# Folders that can't be read.


def test_a_folder_of_another_format_is_not_read(directory):
    save(make_parts(bowl, options()), directory)
    (directory.path / "meta.json").write_text('{"format_version": 1}')
    with pytest.raises(NotARunError, match="the run has format 1"):
        read_saved(directory)


def test_a_folder_without_parts_is_not_read(directory):
    with pytest.raises(NotARunError, match=r"there is no run\.json"):
        read_saved(directory)


def without(name):
    return lambda content: {key: value for key, value in content.items() if key != name}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: {},
        lambda content: {**content, "kind": "walk"},
        without("loss"),
        lambda content: {**content, "options": {"worker_time_limit": "long"}},
        lambda content: {**content, "sampler": "Y25vX3N1Y2hfbW9kdWxlCkxvc3MKLg=="},
    ],
    ids=["empty", "kind", "loss", "options", "sampler"],
)
def test_parts_that_can_not_be_read_are_told(damage, directory):
    directory.parts.write(damage(make_parts(bowl, options()).saved))
    with pytest.raises(NotARunError, match="its loss and options can't be read") as caught:
        read_saved(directory)
    assert caught.value.run_dir == directory.path
    assert caught.value.__cause__ is not None


class Size(str, enum.Enum):  # noqa: UP042 - as it is often written
    SMALL = "small"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"timeout": Decimal("1.5")}, {"timeout": 1.5}),
        ({"slurm_timeout_minutes": Fraction(241, 2)}, {"slurm_timeout_minutes": 120.5}),
        ({"chunk_timeout_seconds": np.array(50.0)}, {"chunk_timeout_seconds": 50.0}),
        ({"n_trials": np.int64(3)}, {"n_trials": 3}),
        ({"workers": (np.int64(1), 4)}, {"workers": (1, 4)}),
        ({"entry_id": Size.SMALL}, {"entry_id": "small"}),
        ({"worker_time_limit": timedelta(hours=1, microseconds=7)}, None),
        ({"overrides": {"x": Decimal(1)}}, OptionError),
        ({"overrides": {"x": np.float32(0.1)}}, {"overrides": {"x": float(np.float32(0.1))}}),
    ],
)
def test_an_option_is_the_same_when_the_run_is_resumed(directory, given, kept):
    if kept is OptionError:
        with pytest.raises(OptionError):
            make_parts(bowl, options(**given))
        return
    first = make_parts(bowl, options(**given))
    saved = through(directory, first)
    assert saved.keywords == {**(given if kept is None else kept), **SEEDS}
    assert all(
        type(one) in (int, float, str, tuple, dict, timedelta) for one in saved.keywords.values()
    )
    again = make_parts(saved.loss, options(**saved.keywords), saved=saved)
    assert changed(first.depends_on, again.depends_on) == {}


@sw.loss(
    name="kinds",
    description="takes a kind",
    parameter_space={"x": (0, 1), "kind": sw.search_param(allowed=list(Size), dtype="str")},
)
def kinds(params, seed):
    return params["x"]


def test_a_member_of_an_enum_of_text_is_text(directory):
    given = {"overrides": {"kind": Size.SMALL}, "trial_zero": {"x": 0.5}}
    first = make_parts(kinds, options(**given))
    saved = through(directory, first)
    again = make_parts(saved.loss, options(**saved.keywords), saved=saved)
    assert changed(first.depends_on, again.depends_on) == {}


def test_the_file_names_no_module_of_seedwise(directory):
    """A module that moves must not make a run unreadable."""
    content = make_parts(bowl, options(**{**KEYWORDS, "sampler": "tpe"})).saved
    directory.parts.write({**content, "code": {}})  # which names the user's own modules
    assert "seedwise" not in (directory.path / "run.json").read_text()


class Program:
    """What does something when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_program_of_somebody_else_is_not_run(directory, tmp_path):
    mark = tmp_path / "mark"
    pickled = base64.b64encode(pickle.dumps(Program(mark))).decode()
    parts = make_parts(bowl, options())
    save(parts, directory)
    directory.parts.write({**parts.saved, "sampler": pickled})
    directory.path.chmod(0o777)
    with pytest.raises(NotARunError, match="others could have put a program into it"):
        read_saved(directory)
    assert not mark.exists()
    directory.path.chmod(0o700)
    read_saved(directory)
    assert mark.exists()


# The code.


def parts_of(text: str, home: str = "made_module"):
    """Return parts whose loss is in a module with this source."""
    parts = make_parts(bowl, options())
    made = code({home: text})
    packed = Packed(
        attrs.evolve(parts.packed.shipment, code=made, module=home, variable="loss"),
        {module.copy: made.sources[name] for name, module in made.modules.items()},
    )
    identity = CodeIdentity(home, ("loss",))
    digest = identity.digest(made)
    depends_on = {**parts.depends_on, "loss": loss_text(bowl, digest)}
    saved = {
        **parts.saved,
        "code": made.to_manifest(),
        "identity": attrs.asdict(identity),
        "digest": digest,
    }
    return attrs.evolve(
        parts, packed=packed, identity=identity, depends_on=depends_on, saved=saved
    )


def test_the_code_is_saved_and_read(directory):
    parts = make_parts(bowl, options())
    shipment = through(directory, parts).packed.shipment
    own = parts.packed.shipment
    assert shipment.code.sources == own.code.sources
    assert shipment.code.folder == str(directory.code / own.code.id)
    assert shipment.id == own.id
    assert (shipment.sender, own.sender in senders) == ("", True)
    source = Path(bowl.function.__code__.co_filename).read_bytes()
    assert source in shipment.code.sources.values()
    assert saved_version(directory) == own.code.id


def test_code_that_was_edited_in_the_folder_is_refused(directory):
    parts = make_parts(bowl, options())
    save(parts, directory)
    (copy,) = directory.code.rglob("losses.py")
    copy.write_text(copy.read_text().replace("1.1", "1.2"))
    with pytest.raises(NotARunError, match="it is a copy, and was changed"):
        read_saved(directory)
    save(parts, directory)  # as the same call does
    assert read_saved(directory).packed.shipment.id == parts.packed.shipment.id


def test_the_version_of_a_folder_without_one(directory):
    assert saved_version(directory) is None
    directory.parts.write({"code": {"modules": {}}})
    assert saved_version(directory) is None


def test_the_same_code_has_the_digest_that_it_began_with(directory):
    """Another version of Python gives another one."""
    parts = parts_of("loss = 1\n")
    digest = parts.saved["digest"]
    before = attrs.evolve(parts, saved={**parts.saved, "digest": "0123456789abcdef"})
    save(before, directory)
    named = named_as_before(parts, directory)
    assert named.saved["digest"] == "0123456789abcdef" != digest
    assert named.depends_on["loss"] == parts.depends_on["loss"].replace(digest, "0123456789abcdef")
    assert changed(named.depends_on, parts.depends_on).keys() == {"loss"}


def test_other_code_has_its_own_digest(directory):
    save(parts_of("loss = 1\n"), directory)
    other = parts_of("loss = 2\n")
    assert named_as_before(other, directory) == other


def test_without_a_readable_folder_nothing_is_named_as_before(directory):
    parts = parts_of("loss = 1\n")
    assert named_as_before(parts, directory) == parts


# Chunks by measurement begin with a plan, by which workers are asked for.


@pytest.mark.parametrize(
    ("options", "n_chunks"),
    [
        ({}, 10),
        ({"n_seeds": 10_000}, 100),  # of 100 seeds
        ({"n_seeds": 64}, 10),  # they may take long
        ({"workers": 40}, 80),
        ({"workers": (1, 40), "max_concurrent_trials": 4}, 20),
    ],
)
@pytest.mark.parametrize("vectorized", [False, True])
def test_chunks_that_are_measured_are_as_many_as_workers_may_need(options, n_chunks, vectorized):
    plan = plan_of(bowls if vectorized else bowl, RunOptions(race=False, **options))
    assert plan.measured
    assert plan.batch == (100 if vectorized else None)
    if vectorized:
        assert plan.chunk_size % 100 == 0
    else:
        assert plan.chunk_size == -(-len(plan.seeds) // n_chunks)


def test_chunks_of_a_size_that_is_given_are_not_measured():
    assert not plan_of(bowl, RunOptions(chunk_size=100)).measured
    assert not plan_of(bowl, RunOptions(num_chunks=3)).measured
