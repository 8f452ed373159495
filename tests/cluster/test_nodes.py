"""Three nodes, or five, as their users meet them: formed, killed, restarted, changed, recovered."""

import os
import signal
import subprocess
import threading
import time
import urllib.request

import pytest

pytestmark = pytest.mark.foreign("etcd", "pgrep")
WEB = {"address": "10.0.0.1", "port": 80, "ttl": 0}


def put(node, name, service="web", **fields):
    path = f"/v1/services/{service}/instances/{name}"
    return node.call("PUT", path, {**WEB, **fields})[0]


def test_any_node_serves_and_its_member_lives_and_dies_with_it(cluster, wait_for):
    nodes = cluster().start()
    for name in "abc":
        assert put(nodes[name], f"at-{name}") == 201
    everywhere = ["at-a", "at-b", "at-c"]
    for name in "abc":
        strong = "/v1/services/web/instances?consistency=strong"
        shown = nodes[name].call("GET", strong)[1]["instances"]
        assert sorted(one["id"] for one in shown) == everywhere
    assert {nodes[name].status()["leader"] for name in "abc"} <= set("abc")
    assert " callboard.etcd.a: " in nodes["a"].said

    # The member alone: started again, and the node serves on.
    (pid,) = nodes["b"].etcd_pids()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: put(nodes["b"], "after-etcd") in (200, 201), "a write at b")
    assert nodes["b"].etcd_pids() != [pid]

    # The node alone: its member goes with it, and the others go on.
    nodes["c"].kill()
    wait_for(lambda: not nodes["c"].etcd_pids(), "the end of c's etcd")
    wait_for(lambda: put(nodes["a"], "without-c") in (200, 201), "a write without c")
    nodes["c"].start(nodes.list_of("abc"))
    wait_for(nodes["c"].is_ready, "c back")
    assert "without-c" in nodes["c"].ids("web")


def test_without_a_majority_writes_are_refused_and_stale_reads_go_on(cluster, wait_for):
    nodes = cluster().start()
    assert put(nodes["a"], "w") == 201
    for name in "bc":
        nodes[name].kill()
    wait_for(lambda: put(nodes["a"], "late") == 503, "a refusal")
    began = time.monotonic()
    status, answer = nodes["a"].call("PUT", "/v1/services/web/instances/x", WEB)
    assert status == 503
    assert answer["error"]["code"] in ("no_quorum", "outcome_unknown")
    assert time.monotonic() - began < 10, "within the request's time"
    stale = nodes["a"].call("GET", "/v1/services/web/instances/w?consistency=stale")
    assert stale[0] == 200
    assert nodes["a"].call("GET", "/v1/services/web/instances?consistency=strong")[0] == 503
    wait_for(lambda: nodes["a"].call("GET", "/readyz")[0] == 503, "unready")
    assert not nodes["a"].status()["writable"]
    nodes["a"].kill()
    wait_for(lambda: not nodes["a"].etcd_pids(), "the end of its etcd")
    nodes["a"].start(nodes.list_of("abc"))
    wait_for(lambda: nodes["a"].call("GET", "/healthz")[0] == 200, "a sign of life")
    status, answer = nodes["a"].call("GET", "/readyz")
    assert status == 503
    assert "waits for a majority" in answer["error"]["message"]
    nodes["b"].start(nodes.list_of("abc"))
    wait_for(lambda: put(nodes["a"], "again") in (200, 201), "a write with b back")


def test_five_nodes_serve_on_without_any_two(cluster, wait_for):
    nodes = cluster("abcde").start("abcde")
    lists = nodes.list_of("abcde")
    leader = wait_for(lambda: nodes["a"].status()["leader"], "a leader")
    keeper = nodes.keeper()
    gone = [*dict.fromkeys([leader, keeper, *"abcde"])][:2]
    there = [name for name in "abcde" if name not in gone]
    leased = "/v1/services/leased/instances/l"
    assert nodes[there[0]].call("PUT", leased, {**WEB, "ttl": 3})[0] == 201
    for name in gone:
        nodes[name].kill()

    for name in there:
        at = f"at-{name}"
        wait_for(lambda name=name, at=at: put(nodes[name], at) in (200, 201), f"a write at {name}")
    written = sorted(f"at-{name}" for name in there)
    for name in there:
        strong = nodes[name].call("GET", "/v1/services/web/instances?consistency=strong")[1]
        assert sorted(one["id"] for one in strong["instances"]) == written
    wait_for(lambda: nodes.keeper(there[0]) in there, "another keeper")
    wait_for(lambda: not nodes[there[0]].ids("leased"), "an expiry by it")

    nodes[there[2]].kill()
    wait_for(lambda: put(nodes[there[0]], "late") == 503, "a refusal without a third")
    for name in (*gone, there[2]):
        wait_for(lambda name=name: not nodes[name].etcd_pids(), f"the end of {name}'s etcd")
        nodes[name].start(lists)
    for name in "abcde":
        wait_for(nodes[name].is_ready, f"{name} back")
        assert set(written) <= set(nodes[name].ids("web"))
    wait_for(lambda: len({nodes[name].status()["index"] for name in "abcde"}) == 1, "one index")


def test_what_does_not_belong_together_is_refused_in_one_line(cluster, wait_for, callboard):
    nodes = cluster("abcd").start("abc")

    def refusal(name, cluster_list):
        nodes[name].start(cluster_list)
        assert nodes[name].process.wait(40) == 1
        return nodes[name].said.splitlines()[-1]

    unknown = refusal("d", nodes.list_of("abcd"))
    assert "does not know this node" in unknown
    assert f"callboard members add d {nodes['d'].peer}" in unknown

    nodes["a"].stop()
    assert "this node joined another cluster" in refusal("a", nodes.list_of("ab"))
    alone = [*("serve", "--name", "a", "--data-dir", str(nodes["a"].data_dir))]
    code, said = callboard(*alone, "--http", "127.0.0.1:0", "--dns", "127.0.0.1:0")
    assert code == 1
    assert "belongs to a node of a cluster" in said
    nodes["a"].start(nodes.list_of("abc"))
    wait_for(nodes["a"].is_ready, "a back")

    (nodes["d"].data_dir / "board.db").write_bytes(b"")
    assert "holds the board of a node that stood alone" in refusal("d", nodes.list_of("abcd"))


def test_members_come_and_go_live(cluster, wait_for, callboard):
    nodes = cluster("abcd").start("abc")
    assert put(nodes["a"], "w") == 201
    assert callboard("members", "add", "d", nodes["d"].peer, node=nodes["a"])[0] == 0
    code, said = callboard("members", "add", "e", "127.0.0.1:1", node=nodes["a"])
    assert code == 1
    assert "one at a time" in said
    nodes["d"].start(nodes.list_of("abcd"))
    wait_for(nodes["d"].is_ready, "d ready")
    assert nodes["d"].ids("web") == ["w"]
    wait_for(lambda: put(nodes["d"], "at-d") in (200, 201), "a write at d")

    def names():
        return {one["name"] for one in nodes["a"].call("GET", "/v1/cluster/members")[1]["members"]}

    assert names() == set("abcd")
    wait_for(lambda: callboard("members", "remove", "b", node=nodes["a"])[0] == 0, "removal of b")
    assert nodes["b"].process.wait(40) == 78
    assert "has been removed from its cluster" in nodes["b"].said
    assert names() == set("acd")
    assert callboard("members", "remove", "b", node=nodes["a"])[0] == 1
    nodes["b"].start(nodes.list_of("abc"))
    assert nodes["b"].process.wait(40) == 78, "what was removed does not come back"

    nodes["a"].stop()
    nodes["a"].start(nodes.list_of("acd"))
    wait_for(nodes["a"].is_ready, "a with the list as it is now")


def test_leases_and_leadership_are_handed_over(cluster, callboard):
    nodes = cluster().start()
    keeper = nodes.keeper()
    code, said = callboard("members", "transfer", "--json", node=nodes[keeper])
    assert code == 0
    other = next(name for name in "abc" if name != keeper)
    assert nodes.keeper(other) != keeper
    assert nodes.keeper(other) in said


def test_a_rolling_restart_fails_no_call_with_ordinary_retries(cluster, wait_for):
    nodes = cluster().start()
    stop, failed, written = threading.Event(), [], []

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            answers = []
            for attempt in range(6):
                node = nodes["abc"[(number + attempt) % 3]]
                answers.append(put(node, f"w{number % 50}", port=number % 60_000 + 1))
                if answers[-1] in (200, 201):
                    written.append(number)
                    break
                time.sleep(0.2)
            else:
                failed.append(answers)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for name in "abc":
            assert nodes[name].stop() == 0
            nodes[name].start(nodes.list_of("abc"))
            wait_for(nodes[name].is_ready, f"{name} back")
            enough = len(written) + 20
            wait_for(lambda enough=enough: len(written) >= enough, f"writes after {name} was back")
    finally:
        stop.set()
        writer.join()
    assert failed == []


def test_renewals_through_other_nodes_outlive_the_keeper(cluster, wait_for):
    nodes = cluster().start()
    keeper = nodes.keeper()
    others = [nodes[name] for name in "abc" if name != keeper]
    for name in ("kept", "identical", "silent"):
        assert put(others[0], name, "leased", ttl=4) == 201
    renewed = {"instances": [["leased", "kept"], ["leased", "nobody"]]}

    def renew():
        status, answer = others[0].call("POST", "/v1/heartbeats", renewed)
        assert (status, answer) == (200, {"renewed": 1, "unknown": [["leased", "nobody"]]})
        assert put(others[1], "identical", "leased", ttl=4) == 200

    def silent_is_gone():
        renew()
        return others[0].ids("leased") == ["identical", "kept"]

    wait_for(silent_is_gone, "the expiry of what is silent")
    many = [["many", f"i{number}"] for number in range(10_000)]
    for start in range(0, len(many), 1000):
        operations = [
            {**WEB, "op": "register", "service": "many", "id": name, "ttl": 600}
            for _, name in many[start : start + 1000]
        ]
        assert others[0].call("POST", "/v1/batch", {"operations": operations})[0] == 200
        renew()
    renewals = {"instances": [*many, ["many", "nobody"]][1:]}
    answer = others[0].call("POST", "/v1/heartbeats", renewals)
    assert answer == (200, {"renewed": 9999, "unknown": [["many", "nobody"]]})
    nodes[keeper].process.send_signal(signal.SIGSTOP)
    ends = time.monotonic() + 12

    def keeper_is_another():
        renew()
        return time.monotonic() > ends and others[0].status()["keeper"] not in ("", keeper)

    wait_for(keeper_is_another, "another keeper")
    nodes[keeper].process.send_signal(signal.SIGCONT)
    ends = time.monotonic() + 2
    wait_for(lambda: renew() or time.monotonic() > ends, "two more seconds")
    assert others[1].ids("leased") == ["identical", "kept"], "who was replaced deletes nothing"


def test_a_lost_majority_is_recovered_on_a_stopped_node(cluster, wait_for, callboard):
    nodes = cluster().start()
    assert put(nodes["a"], "w") == 201
    wait_for(lambda: nodes["c"].ids("web") == ["w"], "w at c")
    data_dir = str(nodes["c"].data_dir)
    code, said = callboard("recover", "--data-dir", data_dir, "--yes")
    assert code == 1
    assert "in use" in said
    for name in "ab":
        nodes[name].kill()
    nodes["c"].stop()
    assert "would become" in callboard("recover", "--data-dir", data_dir)[1]
    code, said = callboard("recover", "--data-dir", data_dir, "--yes")
    assert code == 0, said
    assert f"--cluster c={nodes['c'].peer}" in said
    nodes["c"].start(nodes.list_of("c"))
    wait_for(nodes["c"].is_ready, "c alone")
    assert nodes["c"].ids("web") == ["w"]
    assert put(nodes["c"], "x") == 201
    assert callboard("members", "remove", "c", node=nodes["c"])[0] == 1
    nothing = subprocess.run(["pgrep", "-f", "force-new-cluster"], capture_output=True)
    assert nothing.returncode == 1, "the recovery leaves no etcd behind"


@pytest.mark.foreign("openssl")
def test_between_nodes_everything_speaks_mutual_tls(cluster, wait_for, callboard, tmp_path):
    pki = tmp_path / "pki"
    nodes = [part for name in "abc" for part in ("--node", f"{name}=127.0.0.1")]
    assert callboard("tls", "init", "--dir", str(pki), *nodes)[0] == 0

    def flags(name):
        return (
            *("--peer-ca", str(pki / "ca.pem")),
            *("--peer-cert", str(pki / f"{name}.pem"), "--peer-key", str(pki / f"{name}.key")),
        )

    nodes = cluster().start(flags=flags)
    keeper = nodes.keeper()
    other = nodes["b" if keeper == "a" else "a"]
    assert put(other, "w", ttl=60) == 201
    renewed = other.call("POST", "/v1/heartbeats", {"instances": [["web", "w"]]})
    assert renewed == (200, {"renewed": 1, "unknown": []})
    text = urllib.request.urlopen(other.http + "/metrics").read().decode()
    assert "callboard_registry_renewals_passed_total 1.0" in text
    assert "callboard_registry_renewals_through_engine_total 0.0" in text

    # A stranger, without a certificate or with one of another CA, is let in nowhere.
    command = ["openssl", "s_client", "-connect", nodes[keeper].peer, "-quiet"]
    stranger = subprocess.run(command, input=b"", capture_output=True, timeout=20)
    assert stranger.returncode != 0
    plain = f"http://{nodes[keeper].peer}/members"
    with pytest.raises(OSError):  # noqa: PT011  # reset, or told that this is no HTTP
        urllib.request.urlopen(plain, timeout=5)
