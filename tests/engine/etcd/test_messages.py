"""The messages that are spoken are those of the .proto beside them."""

import subprocess
from pathlib import Path

import pytest
from callboard.registry.engine.etcd import callboard_etcd_pb2 as messages
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

DIRECTORY = Path(messages.__file__).parent


@pytest.mark.foreign("protoc")
def test_the_generated_module_is_that_of_the_proto(tmp_path):
    compiled = tmp_path / "compiled"
    argv = ["protoc", f"--proto_path={DIRECTORY}", f"--descriptor_set_out={compiled}"]
    subprocess.run([*argv, "callboard_etcd.proto"], check=True, timeout=60)
    [wanted] = FileDescriptorSet.FromString(compiled.read_bytes()).file
    for message in wanted.message_type:
        for field in message.field:
            field.ClearField("json_name")  # in every descriptor set, and in no module
    found = FileDescriptorProto.FromString(messages.DESCRIPTOR.serialized_pb)
    assert found == wanted, "make messages"
