"""Options of TFMOT's techniques: what goes together, and the command line that asks for it."""

import pytest
import typer

import quantize.commands.cli
from edge.errors import QuantizeError
from quantize.options import Options
from quantize.sweep.trials import VARIANTS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"pruning": 0.3, "pruning_pattern": "2:4"},
            "--pruning 0.3 with --pruning-pattern 2:4, which is one half: give 0.5 or leave it out",
        ),
        (
            {"pruning": 0.5, "pruning_pattern": "2:4", "pruning_schedule": "polynomial"},
            "--pruning-schedule polynomial with --pruning-pattern 2:4, which TFMOT sets at once: "
            "give constant or leave it out",
        ),
        (
            {"pruning_schedule": "constant"},
            "--pruning-schedule constant without --pruning: give a share",
        ),
        (
            {"pruning": 0.5, "pruning_schedule": "linear"},
            "--pruning-schedule linear: give constant or polynomial",
        ),
        ({"pruning_pattern": "1:4"}, "--pruning-pattern 1:4: give free or 2:4"),
        ({"clusters": 1}, "--clusters 1: give 2 to 128"),
        ({"clusters": 500}, "--clusters 500: give 2 to 128"),
        (
            {"clusters": 2, "pruning": 0.5},
            "--clusters 2: give 3 to 128 (zero is one of them)",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    """The message has both, and what to do."""
    with pytest.raises(QuantizeError) as refused:
        Options(**options)
    assert str(refused.value) == message


def read(*words):
    """What the command line makes of words: the options that `run` gets."""
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantize.commands.run.quantize_run", lambda *given: asked.append(given))
        command = typer.main.get_command(quantize.commands.cli.app)
        command.main(["run", "x", "--out", "x.wtr", *words], standalone_mode=False)
    return asked[0][2]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_the_sweep_is_a_valid_command(variant):
    """Its words make the same options of it; 2:4 alone means one half."""
    options = read(*VARIANTS[variant].words())
    assert options == VARIANTS[variant]
    assert options.zeros == (0.75 if variant == "zeros-75" else 0.5 if "zeros" in variant else 0.0)


def test_every_option_is_on_the_command_line():
    """Whatever is asked for is read back from its own words; nothing is left out."""
    asked = Options(
        method="ptq",
        budget="ms=8",
        pruning=0.3,
        pruning_schedule="constant",
        pruning_pattern="free",
        clusters=16,
        resolution=96,
        on="pi@cam-07",
        on_command="env A=1 wheatear",
        io="uint8",
        epochs=0,
        pruning_epochs=3,
        learning_rate=1.25e-6,
        pruning_learning_rate=0.125,
        batch=7,
        tolerance=0.0,
        min_agreement=1.0,
    )
    assert read(*asked.words()) == asked
    assert read() == Options()
    assert read("--pruning-pattern", "2:4") == Options(pruning_pattern="2:4")
    assert len(asked.words()) == 2 * (len(Options.__struct_fields__) - 1)
