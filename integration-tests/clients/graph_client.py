"""A gRPC client that is not ours: Google's library, and the services as reflection tells them.

    graph_client.py HOST:PORT GRAPH BACKUPS

Calls what a graph offers and compares the answers with what they have to be. The graph has the
schema of the integration tests' shop, and no data. Says OK in the end.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)


class Client:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        database = ProtoReflectionDescriptorDatabase(self.channel)
        self.services = database.get_services()
        self.pool = descriptor_pool.DescriptorPool(database)

    def method(self, name, /, **fields):
        """One call: a dict, or a list of them where the answer is a stream."""
        return self.send(name, fields)

    def send(self, name, request):
        service, method = self.find(name)
        kind = message_factory.GetMessageClass(method.input_type)
        answer = message_factory.GetMessageClass(method.output_type)
        path = f"/{service.full_name}/{method.name}"
        pieces = {"request_serializer": kind.SerializeToString, "response_deserializer": answer.FromString}

        def encode(fields):
            return json_format.ParseDict(fields, kind())

        def decode(message):
            return json_format.MessageToDict(message, preserving_proto_field_name=True)

        requests = iter([encode(one) for one in request]) if isinstance(request, list) else encode(request)
        proto = method.containing_service.file
        assert proto.package == "omnigraph.data.v1", proto.package
        streams = (isinstance(request, list), name in STREAMS)
        calls = {
            (False, False): self.channel.unary_unary,
            (False, True): self.channel.unary_stream,
            (True, True): self.channel.stream_stream,
        }
        call = calls[streams](path, **pieces)
        got = call(requests, timeout=60)
        return [decode(one) for one in got] if streams[1] else decode(got)

    def find(self, name):
        for service in self.services:
            if service.startswith("omnigraph.data.v1."):
                found = self.pool.FindServiceByName(service)
                if name in found.methods_by_name:
                    return found, found.methods_by_name[name]
        raise AssertionError(f"no service has {name}")


STREAMS = {
    "Load",
    "Query",
    "InvokeQuery",
    "Export",
    "GetBlob",
    "CaptureBaseline",
    "Optimize",
    "Cleanup",
    "Backup",
}


def refused(code, reason, call):
    """A refusal has its status code (any, if none is given), and says what it is about."""
    try:
        answer = call()
    except grpc.RpcError as error:
        assert code in (None, error.code()), (error.code(), error.details())
        assert reason in error.details(), error.details()
        return error
    raise AssertionError(f"{reason}: it should have been refused: {answer}")


def base64(data):
    import base64 as b

    return b.b64encode(data).decode()


def lines(*entities):
    return base64("".join(json.dumps(entity) + "\n" for entity in entities).encode())


def main(address, graph, backups):
    client = Client(address)
    for service in ("GraphService", "MaintenanceService", "ReadinessService"):
        assert f"omnigraph.data.v1.{service}" in client.services, client.services

    def call(name, /, **fields):
        return client.method(name, graph_id=graph, **fields)

    def mutate(query, branch="main", **options):
        answer = call("Mutate", query=query, branch=branch, options=options)
        return answer["result"]

    def rows(target):
        query = "query q() { match { $i: Item } return { $i.name as name, $i.size as size } order { name } }"
        frames = call("Query", query=query, target=target, encoding="RESULT_ENCODING_JSON_ROWS")
        found = [json.loads(row) for frame in frames for row in frame.get("json_rows", {}).get("rows", [])]
        return {row["name"]: row["size"] for row in found}

    # Load: a stream of frames, with an end that counts bytes.
    picture = bytes(range(256)) * 40
    data = lines(
        {"type": "Item", "data": {"name": "a", "size": 1, "image": "base64:" + base64(picture)}},
        {"type": "Item", "data": {"name": "b", "size": 2}},
        {"edge": "Needs", "from": "a", "to": "b"},
    )
    size = len(__import__("base64").b64decode(data))
    header = {"header": {"graph_id": graph, "mode": "LOAD_MODE_APPEND"}}
    answers = client.send("Load", [header, {"ndjson": data}, {"end": {"bytes": str(size)}}])
    assert answers[-1]["result"]["total_entities"] == "3", answers
    # One that breaks off, or is shorter than it says, commits nothing.
    more = lines({"type": "Item", "data": {"name": "lost"}})
    for end in ([], [{"end": {"bytes": "7"}}]):
        refused(None, "", lambda: client.send("Load", [header, {"ndjson": more}, *end]))
    assert rows({"branch": "main"}) == {"a": 1, "b": 2}
    loaded = call("GetBranch", name="main")["branch"]["head"]["graph_commit_id"]

    # Tags: names for commits that never move.
    made = call("CreateTag", name="v1", target={"branch": "main"}, message="first")["tag"]
    assert made["graph_commit_id"] == loaded and made["message"] == "first", made
    refused(
        grpc.StatusCode.ALREADY_EXISTS,
        "already exists",
        lambda: call("CreateTag", name="v1", target={"branch": "main"}),
    )

    # A feed from here on, and what happens next in it.
    begun = call("PollChanges", start="now")
    cursor = begun["cursor"]
    written = mutate('query q() { insert Item { name: "c", size: 3 } }', idempotency_key="once")
    again = mutate('query q() { insert Item { name: "c", size: 3 } }', idempotency_key="once")
    assert again["replayed"] and again["commit"] == written["commit"], again
    polled = call("PollChanges", cursor=cursor)
    changes = [change for block in polled["blocks"] for change in block["changes"]]
    assert [(change["id"], change["op"]) for change in changes] == [("c", "CHANGE_OP_INSERT")], polled
    assert polled["caught_up"]
    refused(grpc.StatusCode.INVALID_ARGUMENT, "", lambda: call("PollChanges", cursor=cursor[:-3] + "xyz"))
    one = call("GetCommitChanges", commit_id=written["commit"]["graph_commit_id"])
    assert one["block"]["changes"] == changes, one
    frames = call("CaptureBaseline", branch="main")
    baseline = b"".join(__import__("base64").b64decode(frame["ndjson"]) for frame in frames if "ndjson" in frame)
    assert len(baseline.splitlines()) == 4, baseline
    assert any("baseline" in frame for frame in frames), frames

    # Time travel by tag, by commit and by time.
    head = call("GetBranch", name="main")["branch"]["head"]
    for target in ({"tag": "v1"}, {"commit_id": loaded}, {"as_of": {"branch": "main", "at_us": str(int(head["created_at_us"]) - 1)}}):
        assert rows(target) == {"a": 1, "b": 2}, target
    assert rows({"branch": "main"}) == {"a": 1, "b": 2, "c": 3}

    # A branch, a difference, a merge with a conflict, and its resolution.
    call("CreateBranch", name="side", from_target={"tag": "v1"})
    mutate('query q() { update Item set { size: 20 } where name = "b" }', branch="side")
    mutate('query q() { update Item set { size: 200 } where name = "b" }')
    diff = call("Diff", **{"from": {"branch": "main"}, "to": {"branch": "side"}, "from_merge_base": True})
    assert [(change["id"], change["op"]) for change in diff["changes"]] == [("b", "CHANGE_OP_UPDATE")], diff
    assert json.loads(diff["changes"][0]["after"]["properties_json"])["size"] == 20, diff
    dry = call("MergeBranches", source="side", target="main", dry_run=True)
    assert dry["outcome"] == "MERGE_OUTCOME_CONFLICTED", dry
    refused(
        grpc.StatusCode.FAILED_PRECONDITION,
        "",
        lambda: call("MergeBranches", source="side", target="main"),
    )
    merged = call("MergeBranches", source="side", target="main", strategies={"Item": "MERGE_STRATEGY_THEIRS"}, delete_source=True)
    assert merged["outcome"] == "MERGE_OUTCOME_MERGED" and merged["branch_deleted"], merged
    assert rows({"branch": "main"}) == {"a": 1, "b": 20, "c": 3}
    refused(grpc.StatusCode.NOT_FOUND, "side", lambda: call("GetBranch", name="side"))

    # Taken back, by its own commit and to an earlier one.
    call("RevertBranch", branch="main", undo_commit_id=merged["commit"]["graph_commit_id"])
    assert rows({"branch": "main"}) == {"a": 1, "b": 200, "c": 3}
    call("RevertBranch", branch="main", to_commit_id=loaded)
    assert rows({"branch": "main"}) == {"a": 1, "b": 2}

    # A blob, whole and in part.
    selector = {"kind": "ENTITY_KIND_NODE", "type_name": "Item", "id": "a", "property": "image"}
    stat = call("StatBlob", selector=selector)["descriptor"]["managed"]
    assert stat["size"] == str(len(picture)), stat

    def blob(**fields):
        frames = call("GetBlob", selector=selector, **fields)
        return b"".join(__import__("base64").b64decode(frame["chunk"]) for frame in frames if "chunk" in frame)

    assert blob() == picture
    assert blob(range={"span": {"start": "10", "end": "300"}}) == picture[10:300]
    assert blob(range={"suffix": "7"}) == picture[-7:]
    refused(
        grpc.StatusCode.OUT_OF_RANGE,
        "",
        lambda: blob(range={"span": {"start": str(len(picture) + 5)}}),
    )
    refused(
        grpc.StatusCode.NOT_FOUND,
        "",
        lambda: call("StatBlob", selector={**selector, "id": "b"}),
    )

    # Arrow out of a query, and into a load.
    query = "query q() { match { $i: Item } return { $i.name as name, $i.size as size } }"
    frames = call("Query", query=query, target={"tag": "v1"}, encoding="RESULT_ENCODING_ARROW_IPC")
    arrow = b"".join(__import__("base64").b64decode(frame["arrow_ipc"]) for frame in frames if "arrow_ipc" in frame)
    header = {
        "header": {
            "graph_id": graph,
            "branch": "copy",
            "from_branch": "main",
            "mode": "LOAD_MODE_OVERWRITE",
            "format": "LOAD_FORMAT_ARROW",
            "node_type": "Item",
        }
    }
    answers = client.send("Load", [header, {"ndjson": base64(arrow)}, {"end": {"bytes": str(len(arrow))}}])
    assert answers[-1]["result"]["branch_created"], answers
    assert rows({"branch": "copy"}) == {"a": 1, "b": 2}

    # Maintenance.
    done = call("Optimize", branch="main")
    assert done[-1]["result"]["commit"]["kind"] == "COMMIT_KIND_MAINTENANCE", done
    told = call("Cleanup", keep_commits=1, dry_run=True)
    assert told[-1]["result"]["dry_run"], told
    refused(grpc.StatusCode.INVALID_ARGUMENT, "", lambda: call("Cleanup"))
    copied = call("Backup", destination_uri=backups, include_history=True)
    assert int(copied[-1]["result"]["objects_copied"]) > 10, copied
    checked = call("Fsck", history=True, rows=True)
    assert checked["sound"], checked

    # Tags go.
    assert [tag["name"] for tag in call("ListTags")["tags"]] == ["v1"]
    assert call("GetTag", name="v1")["commit"]["graph_commit_id"] == loaded
    call("DeleteTag", name="v1")
    refused(grpc.StatusCode.NOT_FOUND, "v1", lambda: call("GetTag", name="v1"))
    refused(
        grpc.StatusCode.NOT_FOUND,
        "nowhere",
        lambda: client.method("ListTags", graph_id="nowhere"),
    )
    print("OK")


main(*sys.argv[1:])
