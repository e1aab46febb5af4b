"""The options that say what makes the runs of a study, and how many at the same time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tanzaku.errors import TanzakuError

if TYPE_CHECKING:
    from tanzaku.study.engines.options import RayOptions

_PANEL = "Ray (--engine ray)"


def jobs_option(**layout: Any) -> Any:
    """The option --jobs; `layout` is typer's: its help, and what the default is."""
    return typer.Option("--jobs", "-j", min=1, **layout)


@dataclass(frozen=True)
class Engines:
    """Options for executing runs at the same time."""

    jobs: Annotated[
        int | None,
        jobs_option(
            help="Number of runs executed at the same time; they share the threads.",
            show_default="1; with Ray, a study makes as many as there is room for",
        ),
    ] = None
    engine: Annotated[
        Literal["inline", "processes", "ray"],
        typer.Option(
            help="What executes the runs. inline: this machine, one after the other; processes: this machine, --jobs "
            "at the same time; ray: Ray, on this machine or on a cluster."
        ),
    ] = "processes"
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of a Ray cluster; auto: the cluster that this machine is part of.",
            show_default="Ray is started on this machine",
            rich_help_panel=_PANEL,
        ),
    ] = None
    cpus_per_run: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of CPUs of a run, and of its threads.",
            show_default="1; on this machine with --jobs, an equal share",
            rich_help_panel=_PANEL,
        ),
    ] = None
    gpus_per_run: Annotated[
        float, typer.Option(min=0, help="Number of GPUs of a run; 0.5: two runs share one.", rich_help_panel=_PANEL)
    ] = 0
    memory_per_run: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="GB", help="Memory reserved for a run, in GB.", show_default="none", rich_help_panel=_PANEL
        ),
    ] = None

    def ray(self) -> "RayOptions | None":
        """How Ray makes the runs; None if it does not."""
        from tanzaku.study.engines.options import RayOptions

        if self.engine == "inline" and (self.jobs or 1) > 1:
            raise TanzakuError(
                f"--engine inline makes one run after the other; for --jobs {self.jobs}, give --engine processes or ray"
            )
        if self.engine == "ray":
            memory = None if self.memory_per_run is None else round(self.memory_per_run * 1e9)
            return RayOptions(self.address, self.cpus_per_run, self.gpus_per_run, memory)
        for name in ("address", "cpus_per_run", "gpus_per_run", "memory_per_run"):
            if getattr(self, name):
                raise TanzakuError(f"--{name.replace('_', '-')} only has an effect with --engine ray; give it too")
        return None


@dataclass(frozen=True)
class StudyEngines(Engines):
    """Also the option for making each run of a study with several processes."""

    processes_per_run: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of processes that train a run together, each on its share of every batch, and on a separate "
            "GPU if there are GPUs.",
        ),
    ] = 1

    def ray(self) -> "RayOptions | None":
        """How Ray makes the runs; None if it does not."""
        if self.engine == "ray" and self.processes_per_run > 1:
            raise TanzakuError("--processes-per-run is for --engine processes; with Ray, make each run in one process")
        return super().ray()
