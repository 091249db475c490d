"""The fixtures of the scenario tests, for the tests here that run programs too. They find its sites as
the module scenario_sites."""

import importlib.util
import pathlib
import sys

_path = pathlib.Path(__file__).resolve().parents[1] / "scenario/conftest.py"
_spec = importlib.util.spec_from_file_location("scenario_sites", _path)
_sites = sys.modules["scenario_sites"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_sites)

shared_servers, servers = _sites.shared_servers, _sites.servers
model_process, model_server = _sites.model_process, _sites.model_server
folder, model_settings = _sites.folder, _sites.model_settings
