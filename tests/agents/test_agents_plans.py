"""What plans do in the guest: bodies, scripts, files, results (spec/agent-protocol §3, §5, §6)."""

from __future__ import annotations

import base64
import http.server
import os
import pathlib
import re
import shutil
import stat
import subprocess
import threading

import pytest
from agents_world import Guest, script_plan


def error(guest: Guest, plan: dict) -> tuple[int, str]:
    result = guest.run(plan)
    assert result["Body"].keys() == {"Message", "AdditionalInfo"}
    return result["ErrorCode"], result["Body"]["Message"]


def test_the_result_message_has_the_fields_of_the_protocol(shared: Guest) -> None:
    result = shared.run({"FormatVersion": "2.0.0", "ID": "abc", "Body": "return 7", "Scripts": {}, "Files": {}})
    assert {name: result[name] for name in ("FormatVersion", "SourceID", "Action", "ErrorCode", "Body")} == {
        "FormatVersion": "2.0.0",
        "SourceID": "abc",
        "Action": "Execution:Result",
        "ErrorCode": 0,
        "Body": 7,
    }
    assert len(result["ID"]) == 32
    assert result["Time"]


def test_is_ready_plans_without_files_and_scripts_are_fine(shared: Guest) -> None:
    assert shared.run({"FormatVersion": "2.0.0", "Body": "return"})["Body"] is None
    assert shared.run({"FormatVersion": "2.0.0"})["Body"] is None


def test_a_script_runs_with_its_command_line_and_input(shared: Guest) -> None:
    plan = script_plan("return run('one \"two three\"', input='fed')", 'echo "$#:$2"; cat; echo oops >&2')
    assert shared.run(plan)["Body"] == {"exitCode": 0, "stdout": "2:two three\nfed", "stderr": "oops"}


def test_a_script_called_through_a_function_name_is_the_same_script(shared: Guest) -> None:
    assert shared.run(script_plan("return run.deploy('x').stdout.upper()", "echo got $1"))["Body"] == "GOT X"


def test_output_that_is_not_wanted_is_null(shared: Guest) -> None:
    plan = script_plan("return run()", "echo out; echo err >&2", captureStdout=False, captureStderr=False)
    assert shared.run(plan)["Body"] == {"exitCode": 0, "stdout": None, "stderr": None}


def test_a_failing_script_is_error_100_with_its_output(shared: Guest) -> None:
    result = shared.run(script_plan("run()", "echo before; exit 3"))
    assert result["ErrorCode"] == 100
    assert result["Body"] == {
        "Message": "Script run returned error code",
        "AdditionalInfo": {"exitCode": 3, "stdout": "before", "stderr": ""},
    }


def test_a_failing_script_may_be_fine(shared: Guest) -> None:
    assert shared.run(script_plan("return run().exitCode", "exit 3", verifyExitcode=False))["Body"] == 3


def test_a_script_without_shebang_and_one_in_a_folder(shared: Guest) -> None:
    plan = script_plan("return run().stdout", 'basename "$PWD"; cat data.txt')
    plan["Files"]["f1"]["Name"] = "core/x.sh"
    plan["Files"]["f2"] = {"Name": "core/data.txt", "BodyType": "Text", "Body": "the data"}
    plan["Scripts"]["run"]["Files"] = ["f2"]
    assert shared.run(plan)["Body"] == "core\nthe data"


def test_files_are_links_to_their_content_as_put_file_needs_it(shared: Guest, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "target.bin"
    content = bytes(range(256))
    plan = script_plan(f"return run('{target}').stdout", 'mv "$(readlink destinationFile)" "$1"; pwd')
    plan["Files"]["f2"] = {"Name": "destinationFile", "BodyType": "Base64", "Body": base64.b64encode(content).decode()}
    plan["Scripts"]["run"]["Files"] = ["f2"]
    folder = pathlib.Path(shared.run(plan)["Body"])
    assert target.read_bytes() == content
    assert stat.S_IMODE(folder.parents[1].stat().st_mode) == 0o700
    assert not folder.exists()  # removed after the plan


def test_a_script_with_the_name_of_a_file_id_does_not_meet_it(shared: Guest) -> None:
    plan = script_plan("return run().stdout", "echo fine")
    plan["Files"] = {"run": plan["Files"]["f1"]}
    plan["Scripts"]["run"]["EntryPoint"] = "run"
    assert shared.run(plan)["Body"] == "fine"


def test_args_are_attributes_and_flags_print_as_python_does(shared: Guest) -> None:
    body = "return '{0} {1} {2}'.format(args.flag, args.deep['a'], args['text'])"
    assert shared.value(body, flag=True, deep={"a": [1]}, text="t") == "True [1] t"


def test_run_container_of_2015_builds_its_command_line(shared: Guest) -> None:
    body = """
      options = ['-d']
      for host_port, container_port in args.portMap.iteritems():
        options.append('-p {0}:{1}'.format(host_port, container_port))
      for key, value in {'x': 'y'}.iteritems():
        options.append(key + value)
      if args.env.has_key('a'):
        options.append(' '.join(map(str, args.env.itervalues())))
      return options
    """
    assert shared.value(body, portMap={"80": 8080}, env={"a": 1}) == ["-d", "-p 80:8080", "xy", "1"]


def test_python_2_base64_gives_text_for_text(shared: Guest) -> None:
    body = """
	import base64
	from base64 import b64encode
	return ['{0}'.format(base64.b64encode(args.code)), '%s' % b64encode(args.code.encode()), base64.b64decode('aGk=') ==
	b'hi', base64.b64encode(b'x').decode() + b64encode('x').decode('ascii')]
    """
    assert shared.value(body, code="hi") == ["aGk=", "aGk=", True, "eA==eA=="]


def test_yaml_of_the_server_loads_without_a_loader(shared: Guest, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "h.yaml").write_text("a: 1\n")
    body = """
    import yaml
    with open(args.path) as f:
        dct = yaml.load(f)
    dct.update(args.data)
    with open(args.path, 'w') as f:
        yaml.safe_dump(dct, f, default_flow_style=False)
    """
    shared.value(body, path=str(tmp_path / "h.yaml"), data={"b": {"c": [1]}})
    assert (tmp_path / "h.yaml").read_text() == "a: 1\nb:\n  c:\n  - 1\n"


def test_texts_of_several_lines_stay_as_they_are(shared: Guest) -> None:
    assert shared.value("    x = '''a\n      b'''\n    return x") == "a\n  b"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("return map(str, [1])", ["1"]),
        ("return b'bytes'", "bytes"),
        ("return {1: None}.keys()", [1]),
        ("return args", {}),
        ("return (1, 2.5, u'x')", [1, 2.5, "x"]),
        ("return unicode(xrange(1)[0])", "0"),
    ],
)
def test_values_of_bodies_become_json(shared: Guest, body: str, value: object) -> None:
    assert shared.value(body) == value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return object()", "the plan's Body returned a value that JSON cannot carry: object is neither"),
        ("return float('nan')", "JSON cannot carry"),
        ("raise Exception('told so')", "told so (Body line 1)"),
        ("x = 1\n{}['a']", "KeyError: 'a' (Body line 2)"),
        ("return args.nothing", "AttributeError: there is no 'nothing'; there are: none (Body line 1)"),
        ("x = (", "SyntaxError"),
        ("import sys; sys.exit(4)", "SystemExit: 4"),
        ("import os; os._exit(4)", "its process ended without a result"),
        ("import os; os.kill(os.getpid(), 9)", "its process ended without a result"),
        ("def f(): f()\nf()", "RecursionError"),
    ],
)
def test_what_goes_wrong_in_a_body_is_error_1_with_its_place(shared: Guest, body: str, message: str) -> None:
    code, text = error(shared, {"FormatVersion": "2.0.0", "Body": body})
    assert code == 1
    assert message in text


FILE = {"f": {"Name": "x", "BodyType": "Text", "Body": ""}}
URL = {"f": {"Name": "x", "Type": "Downloadable", "URL": "http://x/y"}}
APPLICATION = {"Type": "Application", "EntryPoint": "f", "Options": {}}


@pytest.mark.parametrize(
    ("plan", "code", "message"),
    [
        ({"FormatVersion": "2.3.0"}, 9, "2.3.0 is not supported"),
        ({"FormatVersion": "3"}, 9, "not supported"),
        ({"FormatVersion": "x"}, 9, "not supported"),
        ({"Scripts": ["QQ=="], "Commands": []}, 2, "Windows agents"),
        ({"FormatVersion": "2.0.0", "Scripts": []}, 2, "Scripts must be a dictionary"),
        ({"FormatVersion": "2.0.0", "Files": "x"}, 2, "Files must be a dictionary"),
        ({"FormatVersion": "2.0.0", "Scripts": {"s": {"Type": "Application"}}}, 2, "EntryPoint"),
        ({"FormatVersion": "2.0.0", "Scripts": {"s": APPLICATION}}, 2, "'f' is not in Files"),
        ({"FormatVersion": "2.0.0", "Scripts": {"s": {**APPLICATION, "Options": 1}}, "Files": FILE}, 2, "Options"),
        ({"FormatVersion": "2.0.0", "Scripts": {"s": {**APPLICATION, "Files": ["g"]}}, "Files": FILE}, 2, "'g'"),
        ({"FormatVersion": "2.0.0", "Scripts": {"s": {"Type": "Puppet", "EntryPoint": "a::b"}}}, 2, "Type Puppet"),
        ({"FormatVersion": "2.1.0", "Scripts": {"s": {"Type": "Puppet", "EntryPoint": "a"}}}, 2, "name::name"),
        ({"FormatVersion": "2.1.0", "Scripts": {"s": {"Type": "Perl", "EntryPoint": "a"}}}, 2, "Type Perl"),
        ({"FormatVersion": "2.0.0", "RebootOnCompletion": "yes"}, 2, "RebootOnCompletion must be 0"),
        ({"FormatVersion": "2.0.0", "Files": URL}, 2, "Downloadable files need FormatVersion 2.1.0"),
        ({"FormatVersion": "2.0.0", "Files": {"f": {"Name": "x", "BodyType": "Zip", "Body": ""}}}, 2, "BodyType"),
        ({"FormatVersion": "2.0.0", "Files": {"f": {"BodyType": "Text", "Body": ""}}}, 2, "Name"),
        (
            {
                "FormatVersion": "2.1.0",
                "Scripts": {"s": {"Type": "Chef", "EntryPoint": "a::b", "Options": {"useBerkshelf": True}}},
            },
            2,
            "Berkshelf",
        ),
        (
            {"FormatVersion": "2.0.0", "Files": {"f": {**FILE["f"], "Name": "../../etc/x"}}},
            2,
            "leaves the script's folder",
        ),
        ({"FormatVersion": "2.0.0", "Files": {"f": {**FILE["f"], "Name": "/etc/x"}}}, 2, "leaves the script's folder"),
    ],
)
def test_wrong_plans_are_refused_with_the_codes_of_the_protocol(
    shared: Guest, plan: dict, code: int, message: str
) -> None:
    assert (result := error(shared, plan))[0] == code
    assert message in result[1]


def test_too_much_output_keeps_its_beginning_and_end(shared: Guest) -> None:
    result = shared.run(
        script_plan("return run().stdout", "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo last")
    )
    assert result["Body"].startswith("first\nxxx")
    assert result["Body"].endswith("xxxlast")
    assert "bytes left out" in result["Body"]
    assert len(result["Body"]) < 1.1 * 1024 * 1024


def test_ten_megabytes_of_output_that_are_no_text_do_not_fail_the_plan(shared: Guest) -> None:
    """Each byte that is no UTF-8 is six in JSON: too much for a result, so more of the middle is left out."""
    body = "a = run()\nb = run()\nreturn [a.stdout, b.stdout, 'end']"
    script = "echo first; head -c 10000000 /dev/zero | tr '\\0' '\\377'; echo last"
    first, second, end = shared.run(script_plan(body, script))["Body"]
    assert end == "end"
    for output in (first, second):
        assert output.startswith("first\n")
        assert output.endswith("last")
        left_out = int(re.search(r"\[\.\.\. (\d+) characters left out \.\.\.\]", output)[1])
        assert left_out + len(output) > 10_000_000
    assert len(first) < 1024 * 1024


def test_a_text_that_is_too_long_loses_its_middle(shared: Guest) -> None:
    value = shared.value("return {'text': 'a' + 'x' * 5000000 + 'z', 'n': 1}")
    assert value["n"] == 1
    assert value["text"].startswith("ax")
    assert value["text"].endswith("xz")
    assert "characters left out" in value["text"]


def test_a_result_that_is_too_large_without_long_texts_is_an_error(shared: Guest) -> None:
    assert "not because of long texts" in error(shared, {"FormatVersion": "2.0.0", "Body": "return [1] * 1500000"})[1]


def test_a_result_the_service_does_not_take_is_an_error_that_says_why(shared: Guest) -> None:
    body = "x = []\nfor _ in range(100):\n  x = [x]\nreturn x"
    assert "nested deeper than 64 levels" in error(shared, {"FormatVersion": "2.0.0", "Body": body})[1]


def test_a_background_child_that_keeps_the_output_does_not_hold_the_plan(shared: Guest) -> None:
    assert shared.run(script_plan("return run().stdout", "sleep 8 & echo started"), timeout=6)["Body"] == "started"


def test_a_downloadable_file_is_a_folder_with_the_file(shared: Guest, tmp_path: pathlib.Path) -> None:
    (tmp_path / "tool.tar").write_text("from the network")
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: handler(*a, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    plan = script_plan("return run().stdout", "cat tool/tool.tar", version="2.1.0")
    plan["Files"]["d"] = {
        "Name": "tool",
        "Type": "Downloadable",
        "URL": f"http://127.0.0.1:{server.server_port}/tool.tar",
    }
    plan["Scripts"]["run"]["Files"] = ["d"]
    assert shared.run(plan)["Body"] == "from the network"
    plan["Files"]["d"]["URL"] += ".missing"
    server_error = shared.run(plan)
    server.shutdown()
    server.server_close()
    assert "file 'tool' cannot be fetched" in server_error["Body"]["Message"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_git_repository_is_cloned(shared: Guest, tmp_path: pathlib.Path) -> None:
    repository = tmp_path / "cookbook.git"
    author = ["-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run(["git", "init", "-q", repository], check=True)
    (repository / "README").write_text("cloned")
    subprocess.run(["git", *author, "add", "."], cwd=repository, check=True)
    subprocess.run(["git", *author, "commit", "-qm", "x"], cwd=repository, check=True)
    plan = script_plan("return run().stdout", "cat book/README", version="2.1.0")
    plan["Files"]["d"] = {"Name": "book", "Type": "Downloadable", "URL": f"file://{repository}"}
    plan["Scripts"]["run"]["Files"] = ["d"]
    assert shared.run(plan)["Body"] == "cloned"


CHEF = '#!/bin/sh\necho "$@"; cat solo.rb node.json\n'
PUPPET = '#!/bin/sh\necho "Error: it broke"; cat manifest.pp default.yaml\n'


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Puppet", "needs the program puppet, which is not on this server; install the package puppet-agent"),
        ("Chef", "needs the program chef-solo, which is not on this server; install the package chef or cinc"),
    ],
)
def test_a_tool_that_is_not_installed_is_named_with_what_brings_it(shared: Guest, kind: str, message: str) -> None:
    plan = {
        "FormatVersion": "2.2.0",
        "Body": "import os\nos.environ['PATH'] = '/nowhere'\nreturn x()",
        "Scripts": {"x": {"Type": kind, "EntryPoint": "web::install", "Files": ["f"]}},
        "Files": {"f": {"Name": "web/metadata.rb", "BodyType": "Text", "Body": ""}},
    }
    result = shared.run(plan)
    assert result["ErrorCode"] == 100
    assert message in result["Body"]["Message"]


@pytest.mark.skipif(shutil.which("puppet") is None, reason="puppet is not installed (Debian: puppet-agent)")
def test_the_real_puppet_applies_a_class_with_its_attributes(shared: Guest, tmp_path: pathlib.Path) -> None:
    """A module as a package brings it; attributes reach the class through Hiera."""
    target = tmp_path / "made-by-puppet"
    manifest = f"""
    class web::page($text = 'nothing', $times = 1) {{
      file {{ '{target}': content => "${{text}} ${{times}}\\n", mode => '0640' }}
      notify {{ "page: ${{text}}": }}
    }}
    """
    plan = {
        "FormatVersion": "2.1.0",
        "Body": "return apply(attributes={'text': 'from hiera', 'times': 3})",
        "Scripts": {"apply": {"Type": "Puppet", "EntryPoint": "web::page", "Files": ["f"]}},
        "Files": {"f": {"Name": "web/manifests/page.pp", "BodyType": "Text", "Body": manifest}},
    }
    result = shared.run(plan, timeout=300)
    assert result["ErrorCode"] == 0, result
    assert "page: from hiera" in result["Body"]["stdout"]
    assert target.read_text() == "from hiera 3\n"


@pytest.fixture
def tools(tmp_path: pathlib.Path) -> pathlib.Path:
    """Stand-ins that print what they were given."""
    for name, text in (("chef-solo", CHEF), ("puppet", PUPPET), ("berks", '#!/bin/sh\nmkdir -p "$3"\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def test_chef_gets_recipe_and_attributes(shared: Guest, tools: pathlib.Path) -> None:
    plan = {
        "FormatVersion": "2.2.0",
        "Parameters": {"path": f"{tools}:{os.environ['PATH']}"},
        "Body": "import os\nos.environ['PATH'] = args.path\nreturn cook(attributes={'port': 80}).stdout",
        "Scripts": {"cook": {"Type": "Chef", "EntryPoint": "web::install", "Files": ["f"]}},
        "Files": {"f": {"Name": "web/Berksfile", "BodyType": "Text", "Body": ""}},
    }
    output = shared.run(plan)["Body"]
    assert output.startswith("-j node.json -c solo.rb")
    assert '{"run_list": ["recipe[web::install]"], "web": {"port": 80}}' in output
    plan["Scripts"]["cook"]["Options"] = {"useBerkshelf": True}
    assert "berks-cookbooks" in shared.run(plan)["Body"]
    plan["Scripts"]["cook"]["EntryPoint"] = "other::install"
    result = shared.run(plan)
    assert (result["ErrorCode"], result["Body"]["AdditionalInfo"]) == (100, None)
    assert "cookbook 'other'" in result["Body"]["Message"]


def test_puppet_gets_class_and_attributes_and_its_errors_are_errors(shared: Guest, tools: pathlib.Path) -> None:
    plan = {
        "FormatVersion": "2.1.0",
        "Parameters": {"path": f"{tools}:{os.environ['PATH']}"},
        "Body": "import os\nos.environ['PATH'] = args.path\nreturn apply(attributes={'port': 80})",
        "Scripts": {"apply": {"Type": "Puppet", "EntryPoint": "web::", "Files": []}},
    }
    result = shared.run(plan)["Body"]
    assert "class { 'web': }" in result["stdout"]
    assert '"web::port": 80' in result["stdout"]
    assert result["stderr"] == "Error: it broke"
