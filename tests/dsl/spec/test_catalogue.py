"""The catalogue of keys, from which errors, schema, explanations and pages draw."""

from ddspec.dsl.keys.declare import TAGS
from ddspec.dsl.spec.catalogue import (
    catalogue,
    describe_type,
    keys_of,
    keys_of_model,
    tables_with,
    tag_of,
)
from ddspec.dsl.spec.objectives.classes import (
    DistributionMatching,
    FeatureMatching,
    GradientMatching,
)
from ddspec.dsl.spec.objectives.performance import Performance
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching


def test_every_key_has_a_meaning_and_a_source():
    for key in catalogue().values():
        assert key.meaning, key.path
        assert key.source or key.is_table, key.path


def test_every_tag_is_a_key_of_its_table():
    for table, tag in TAGS.items():
        assert tag in keys_of(table)
    assert tag_of("trajectory") == "type"
    assert tag_of("synthetic.init") == "name"


def test_key_of_one_alternative_says_which():
    assert catalogue()["trajectory.waypoints"].only_with == 'type = "convex"'
    assert '"real"' in describe_type(catalogue()["synthetic.init.name"])


def test_table_of_a_key_is_found_by_its_name():
    assert tables_with("syn_steps") == ["matching"]


def test_list_that_may_be_absent_is_a_list():
    assert describe_type(catalogue()["dataset.classes"]) == "a list of strings"
    assert describe_type(catalogue()["matching.layer_weights"]) == "a list of numbers"


def test_key_of_another_type_in_another_choice_says_both_types():
    known = catalogue()["synthetic.images.lr_decay.iterations"]
    assert describe_type(known) == "a list of whole numbers or a whole number"


def test_readings_are_those_that_a_report_names_deviations_from():
    assert catalogue()["trajectory.spacing"].reading
    assert not catalogue()["matching.syn_steps"].reading


def test_key_that_several_objectives_have_is_the_same_in_all():
    """explain, plans and pages look a key up by its path alone."""
    objectives = [
        TrajectoryMatching,
        GradientMatching,
        DistributionMatching,
        FeatureMatching,
        Performance,
    ]
    declared: dict[str, set[tuple[str, str, str]]] = {}
    for model in objectives:
        for known in keys_of_model(model, "matching"):
            if known.path != "matching.objective":
                facts = (known.meaning, repr(known.default), known.source)
                declared.setdefault(known.path, set()).add(facts)
    differing = {path for path, facts in declared.items() if len(facts) > 1}
    # Tables of the same shape, used by two papers.
    assert differing <= {"matching.student"}
