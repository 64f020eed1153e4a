"""``soupcheck llm``: the bridge on the command line.

Everything that needs torch is imported inside the commands, so that the command line stands without
the ``llm`` extra, says which extra to install, and starts fast.
"""

from __future__ import annotations

import typer

from .diagnose import diagnose
from .export import export
from .fetch_smollm import fetch_smollm
from .make_default import make_default
from .make_smollm import make_smollm
from .soup import soup
from .study import study
from .train import train

llm = typer.Typer(
    help="The same diagnostics on language models with LoRA adapters (extra: soupcheck\\[llm]).",
    no_args_is_help=True,
)
llm.command()(diagnose)
llm.command()(soup)
llm.command()(export)
llm.command("make-default")(make_default)
llm.command("fetch-smollm")(fetch_smollm)
llm.command("make-smollm")(make_smollm)
llm.command()(train)
llm.command()(study)
