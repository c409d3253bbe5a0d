"""The demo from end to end: servers, clinic, Dagster runs, comparison with the expected result."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.text import Text

from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.clinic.generate import Clinic, generate_clinic
from fm_pipeline.sandbox.clinic.nexus.oracle import Expected
from fm_pipeline.sandbox.clinic.nexus.system import ADMIN, SANDBOX_PASSWORD, VIEWER, VIEWERS
from fm_pipeline.sandbox.clinic.nexus.values import Profile
from fm_pipeline.sandbox.demo import imported_images
from fm_pipeline.sandbox.demo.clinic import (
    STOP,
    ComparisonResult,
    compare_stops,
    compare_with_expected,
    digests,
    fill_stack,
    stopping_rules,
)
from fm_pipeline.sandbox.demo.hospital import Hospital
from fm_pipeline.sandbox.demo.images import REPAIR, DemoImages
from fm_pipeline.sandbox.demo.linked_images import LINK
from fm_pipeline.sandbox.demo.output import DONE, ERROR, print_results
from fm_pipeline.sandbox.demo.run import Line, asset_metadata, follow, launch
from fm_pipeline.sandbox.programs.programs import PROGRAMS
from fm_pipeline.sandbox.stack.console import ConsoleService
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.ownership import OWNER_FILE, owned, refuse_if_in_use
from fm_pipeline.sandbox.stack.ports import free_port, refuse_taken_port
from fm_pipeline.sandbox.stack.put_off import interrupts_put_off
from fm_pipeline.sandbox.stack.stack import CLINIC_SETTINGS, LOCK_FILE, SERVICES, Stack
from fm_pipeline.sandbox.stack.state import DEMO_FILE, make_private_folder, write_json
from fm_pipeline.sequence.report_terminal import report_lines
from fm_pipeline.settings import ENV_FILE, Settings

STYLES = {"info": "", "done": DONE, "error": ERROR}
RUN_LIMIT_SECONDS = 3600.0
UI_PORT = 3000


class Demo:
    """One demo in a state folder of its own, which is emptied first. Leaving the block stops its servers.

    Args:
        state_dir: emptied first, if an earlier demo has created it and no process uses it.
        scale: of the clinic.
        port: of the console; None for `UI_PORT`, or a free one if that is taken.
        profile: the mapping profile whose layouts FileMaker has.
        as_found: whether the records have the defects of the real clinic.
        dicom: whether DICOM is part of it, for which Orthanc is fetched where there is none.
        install: whether Orthanc is installed then, and not unpacked.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        scale: float,
        port: int | None,
        profile: Profile = "nexus",
        as_found: bool = False,
        dicom: bool = True,
        install: bool = False,
    ) -> None:
        self._state_dir = state_dir.absolute()
        if port:
            refuse_taken_port(port, "the demo")
        self._refuse_folder()  # before Orthanc is downloaded
        self._scale = scale
        self._port = port
        self._profile: Profile = profile
        self._as_found = as_found
        self._terminal = Console()
        self._open = ExitStack()
        self._dicom = dicom
        self._left_out = self._bring_orthanc(install=install) if dicom else "--without dicom was given."
        self._stack = Stack(self._state_dir, [kind for kind in SERVICES if dicom or kind is not OrthancService])
        self._hospital = Hospital(self._stack)

    def __enter__(self) -> Self:
        make_private_folder(self._state_dir)
        try:
            self._open.enter_context(owned(self._state_dir))
            self._begin_anew()
            return self._start()
        except BaseException:
            self._open.close()
            raise

    def _start(self) -> Self:
        with self._terminal.status("Starting PostgreSQL, S3, the FileMaker stand-in and a mail catcher …"):
            self._open.enter_context(self._stack)
        return self

    def _bring_orthanc(self, *, install: bool) -> str:
        """Return why there is no Orthanc; empty if there is one."""
        try:
            PROGRAMS["orthanc"].bring(self._terminal, install=install)
        except PipelineError as error:
            self._terminal.print(f"{error.what} {error.remedy}", style="yellow", soft_wrap=True)
            return error.what
        return ""

    def _refuse_folder(self) -> None:
        """Raise PipelineError if the folder is not a demo's, or a process uses it."""
        if not self._state_dir.exists():
            return
        refuse_if_in_use(self._state_dir)
        _refuse_what_is_no_demo(self._state_dir)
        if running := [row for row in Stack(self._state_dir).status() if row.alive]:
            servers = ", ".join(f"{row.name} (process {row.pid})" for row in running)
            raise PipelineError(
                f"The state folder {self._state_dir} is in use: {servers}.",
                meaning="A new demo there would remove the data of these servers. Nothing was removed.",
                remedy=f"Stop them: fm-pipeline stack down --state-dir {self._state_dir}, or name another folder with"
                " --state-dir.",
            )

    def _begin_anew(self) -> None:
        """Remove the files of the last demo, except those that identify the folder and its owner."""
        self._refuse_folder()  # again, now that no other process can take it
        write_json(self._state_dir / DEMO_FILE, {"made by": "fm-pipeline demo"})
        for path in self._state_dir.iterdir():
            if path.name not in {OWNER_FILE, LOCK_FILE, DEMO_FILE}:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def __exit__(self, *_: object) -> None:
        with interrupts_put_off(), self._terminal.status("Stopping everything that was started …"):
            self._open.close()

    @property
    def url(self) -> str:
        """URL of the console; Dagster's UI is below /dagster."""
        return self.console.url

    @property
    def console(self) -> ConsoleService:
        """The console, which is the demo's entrance."""
        return self._stack.service(ConsoleService)

    def run(self, report_file: Path | None = None) -> bool:
        """Fill the clinic, reimport it, print the report; return whether every comparison holds.

        The clinic "as found" is reimported twice: with the default rules, which stop, and with the policy quarantine.
        """
        with self._terminal.status("Generating the clinic and filling FileMaker and Nexus with it …"):
            clinic = generate_clinic(scale=self._scale, as_found=self._as_found, images="bulk")
            fill_stack(self._stack, clinic, self._profile)
            images = DemoImages(self._stack, clinic)
            image_settings = images.fill()
        expected = clinic.expected(profile=self._profile)
        self._rules.touch(mode=0o600)
        own = {
            "FILEMAKER_PROFILE": str(self._profile),
            "RULES_FILE": str(self._rules.absolute()),
            "CONSOLE_VIEWER_GROUP": VIEWERS,
        }
        (self._state_dir / CLINIC_SETTINGS).write_text(json.dumps(own), "utf-8")
        with self._terminal.status("Starting the console and Dagster …"):
            for name in [name for name in os.environ if name.lower() in Settings.model_fields]:
                del os.environ[name]  # it may name the real systems
            # A settings file may name them too, and a proxy must not be used for servers of this machine.
            os.environ |= {ENV_FILE: os.devnull, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
            os.environ.update(self._stack.environment() | image_settings | imported_images.SETTINGS)
            os.environ |= self._hospital.environment()
            port = self._port or self._usual_port()
            os.environ["CONSOLE_URL"] = f"http://127.0.0.1:{port}"  # emails and Dagster's pages lead there
            Stack(self._state_dir, [ConsoleService]).up({ConsoleService.name: port})
        self._terminal.print(f"Console: {self.url}", highlight=False)
        self._invite()
        self._hospital.appear(self._terminal)
        results = self._run_until_stopped(expected) if self._as_found else []
        run_id = self._reimport()
        if run_id is None:
            return False
        report = self._reimport_report(run_id)
        with self._terminal.status("Comparing every row of Nexus with the expected result …"):
            results += compare_with_expected(self._stack, expected, report)
        results += self._link_images(images)
        results += self._import_images(clinic)
        results += self._hospital.judge(self._terminal)
        print_results(self._terminal, results)
        held = all(result.holds for result in results) and not (self._dicom and self._left_out)
        if self._left_out:
            style = ERROR if self._dicom else "yellow"
            self._terminal.print(f"DICOM was left out: {self._left_out}", style=style, soft_wrap=True)
        if report_file:
            content: dict[str, Any] = {"held": held, "scale": self._scale, "profile": self._profile}
            content |= {"as_found": self._as_found, "run_id": run_id, "reimport": report}
            content["verdicts"] = [result._asdict() for result in results]
            report_file.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        return held

    def _usual_port(self) -> int:
        port = free_port(UI_PORT)
        if port != UI_PORT:
            self._terminal.print(f"Another program has port {UI_PORT}, so the console of the demo takes another one.")
        return port

    @property
    def _rules(self) -> Path:
        """File of the clinic's own rules; empty at first."""
        return self._state_dir / "rules.yaml"

    def _run_until_stopped(self, expected: Expected) -> list[ComparisonResult]:
        """Run with the default rules: the run must stop, list every broken rule, and leave Nexus unchanged."""
        before = digests(self._stack)
        stopped = self._carry_out("plan_reimport") is None
        broken = stopping_rules(self._stack)
        self._terminal.print("The clinic decides that such rows are let through, and counted: the policy quarantine.")
        self._rules.write_bytes(files("fm_pipeline.entities.policies").joinpath("quarantine.yaml").read_bytes())
        return [
            ComparisonResult(STOP, "the default rules stop it", stopped, f"{len(broken)} rules"),
            *compare_stops(expected, broken, unchanged=digests(self._stack) == before),
        ]

    def _reimport(self) -> str | None:
        """Make a plan, confirm it and reimport; return the run's id, or None if one of the runs failed."""
        run_id = self._carry_out("plan_reimport")
        if run_id is None:
            return None
        plan = asset_metadata(self.console.home, "reimport_plan", run_id)
        self._terminal.print(f"The demo has read it, and confirms it with the words {plan['confirm']!r}.")
        permission = {"plan_id": plan["plan_id"], "confirm": plan["confirm"], "requested_by": "demo"}
        return self._carry_out("full_reimport", {"ops": {"reimport_transaction": {"config": permission}}})

    def _link_images(self, images: DemoImages) -> list[ComparisonResult]:
        """Link the bulk dump's images; then simulate an earlier reimport, which a new one repairs."""
        if self._carry_out("link_images") is None:
            return [ComparisonResult(LINK, "the run ends well", False, "it failed")]
        with self._terminal.status("Comparing every image with the expected result …"):
            results = images.compare_link()
        orphaned = images.orphan()
        self._terminal.print(f"The demo gives the patients of {orphaned:,} batches away, as an earlier reimport did.")
        run_id = self._reimport()
        if run_id is None:
            return [*results, ComparisonResult(REPAIR, "the reimport ends well", False, "it failed")]
        return results + images.compare_reimport(self._reimport_report(run_id), orphaned)

    def _import_images(self, clinic: Clinic) -> list[ComparisonResult]:
        """Import the images that no bulk dump has from FileMaker's containers."""
        run_id = self._carry_out(imported_images.JOB)
        if run_id is None:
            return [ComparisonResult(imported_images.IMPORT, "the run ends well", False, "it failed")]
        found = asset_metadata(self.console.home, imported_images.ASSET, run_id)
        return imported_images.compare_import(self._stack, clinic, found)

    def wait(self) -> None:
        """Keep the console running until Ctrl-C."""
        self._terminal.print(f"\nThe console stays until Ctrl-C: {self.url}")
        self._invite()
        self._terminal.print(f"The graph: {self.url}/dagster/asset-groups (Alt+E shows all assets)", soft_wrap=True)
        self._terminal.print(f"The report: {self.url}/dagster/assets/reimport_validation", soft_wrap=True)
        self._hospital.invite(self._terminal)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()

    def _invite(self) -> None:
        """Print two accounts of the demo's clinic."""
        for role, name in (("administrator", ADMIN), ("viewer", VIEWER)):
            self._terminal.print(f"  {role}: {name}, password {SANDBOX_PASSWORD}", soft_wrap=True, highlight=False)

    def _carry_out(self, job: str, config: Mapping[str, Any] | None = None) -> str | None:
        """Run a job and show its log; return its run id, or None if it failed."""
        if not self._stack.answers(ConsoleService):
            raise PipelineError(
                f"What answers on port {self.console.port} is not the console that the demo has started.",
                meaning="Nothing was launched there.",
                remedy=f"Start the demo again. The log of its console: {self.console.log}",
            )
        run_id = launch(self.console, job, config)
        self._terminal.print(f"\n{job}: {self.url}/dagster/runs/{run_id}", soft_wrap=True)
        with self._terminal.status(f"{job} …"):
            succeeded = follow(self.console.home, run_id, self._say, limit_seconds=RUN_LIMIT_SECONDS)
        if not succeeded:
            self._terminal.print(Text("The run failed; Nexus is unchanged.", style=ERROR))
            return None
        return run_id

    def _say(self, line: Line) -> None:
        self._terminal.print(Text(line.text, style=STYLES[line.level]), soft_wrap=not self._terminal.is_terminal)

    def _reimport_report(self, run_id: str) -> dict[str, Any]:
        """Return the report that a run wrote, and print it."""
        for folder in sorted((self._state_dir / "reports").iterdir(), reverse=True):
            content: dict[str, Any] = json.loads((folder / "report.json").read_text("utf-8"))
            if content["run_id"] == run_id:
                self._terminal.print(*report_lines(content), sep="\n")
                self._terminal.print(f"The whole report: {folder}", soft_wrap=True, highlight=False)
                return content
        raise PipelineError(f"The run {run_id} left no report in {self._state_dir / 'reports'}.")


def _refuse_what_is_no_demo(folder: Path) -> None:
    """Refuse to empty a folder that no demo has created, such as the one with the pipeline's backups."""
    names = {path.name for path in folder.iterdir()} - {OWNER_FILE, LOCK_FILE}
    if names and DEMO_FILE not in names:
        raise PipelineError(
            f"The folder {folder} is not empty, and no demo has made it.",
            meaning="It was left as it is.",
            remedy="Give another folder with --state-dir.",
        )
