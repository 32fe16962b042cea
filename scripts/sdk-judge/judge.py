"""Judges a running hub with Microsoft's own client, azure-iot-hub, unchanged.

Usage:
    pip install -r requirements.txt
    export IOTHUB_CONNECTION_STRING="$(local-hub connection-string --data DIR)"
    export REQUESTS_CA_BUNDLE=DIR/ca.pem
    export JUDGE_CONTAINER=FOLDER
    python judge.py

JUDGE_CONTAINER is an empty folder that the hub takes for a container of blobs, see its --blob-folder.

Prints one line per check and a summary; ends with 1 if a check failed, with 2 if it could not begin.
Every device it makes has an id that begins with "judge-", and it deletes them all.
"""

import base64
import datetime
import json
import os
import sys
import time
import traceback

try:
    from azure.iot.hub import (
        IoTHubConfigurationManager,
        IoTHubHttpRuntimeManager,
        IoTHubJobManager,
        IoTHubRegistryManager,
    )
    from azure.iot.hub.models import (
        AuthenticationMechanism,
        CloudToDeviceMethod,
        Configuration,
        ConfigurationContent,
        ConfigurationQueriesTestInput,
        ExportImportDevice,
        JobProperties,
        JobRequest,
        QuerySpecification,
        SymmetricKey,
        Twin,
        TwinProperties,
    )
    from azure.iot.hub.protocol.models import PropertyContainer
    from msrest.exceptions import HttpOperationError
except ImportError as error:
    print(f"cannot begin: {error}; pip install -r requirements.txt", file=sys.stderr)
    sys.exit(2)

PREFIX = "judge-"
SHA256 = "AB" * 32
SHA256_LOWER = "cd" * 32
SHA1 = "0F" * 20
DEADLINE = 60  # seconds, for whatever must come

CHECKS = []


def check(function):
    """Registers a check; its docstring is what it is called."""
    CHECKS.append(function)
    return function


def equal(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, wanted {wanted!r}")


def refused(status, code, call, *arguments):
    """Runs a call that the hub must refuse with this status and this error code."""
    try:
        call(*arguments)
    except HttpOperationError as error:
        equal(error.response.status_code, status, "status")
        equal(error.response.headers.get("iothub-errorcode"), code, "iothub-errorcode")
        body = error.response.json()
        equal(body["Message"].split(";")[0], f"ErrorCode:{code}", "Message")
        return
    raise AssertionError(f"not refused, wanted {status} {code}")


def key(byte):
    return base64.b64encode(bytes([byte]) * 32).decode()


def desired(value):
    return Twin(properties=TwinProperties(desired=value))


def manager(kind):
    return kind.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"].strip())


def ended(read, name):
    """The job when it has come to its end."""
    deadline = time.monotonic() + DEADLINE
    while True:
        job = read(name)
        if job.status in ("completed", "failed", "cancelled"):
            return job
        if time.monotonic() > deadline:
            raise AssertionError(f"job {name} stays {job.status}")
        time.sleep(0.05)


def in_an_hour():
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)


def bulk_item(device, mode, module=None, **fields):
    return ExportImportDevice(id=PREFIX + device, module_id=module, import_mode=mode, **fields)


@check
def device_sas(hub):
    """a device with generated keys, and one with keys of its own"""
    made = hub.create_device_with_sas(PREFIX + "sas", "", "", "enabled")
    equal(len(base64.b64decode(made.authentication.symmetric_key.primary_key)), 32, "generated key")
    equal(made.authentication.type, "sas", "type")
    equal(made.status, "enabled", "status")
    own = hub.create_device_with_sas(PREFIX + "own-keys", key(1), key(2), "disabled", status_reason="not yet")
    equal(own.authentication.symmetric_key.primary_key, key(1), "primary key")
    equal(own.authentication.symmetric_key.secondary_key, key(2), "secondary key")
    equal((own.status, own.status_reason), ("disabled", "not yet"), "status")
    equal(hub.get_device(PREFIX + "own-keys").etag, own.etag, "etag")


@check
def device_thumbprints(hub):
    """a device with two thumbprints, which come back as they were written"""
    made = hub.create_device_with_x509(PREFIX + "x509", SHA256, SHA256_LOWER, "enabled")
    equal(made.authentication.type, "selfSigned", "type")
    read = hub.get_device(PREFIX + "x509").authentication.x509_thumbprint
    equal((read.primary_thumbprint, read.secondary_thumbprint), (SHA256, SHA256_LOWER), "thumbprints")
    twin = hub.get_twin(PREFIX + "x509")
    equal(twin.authentication_type, "selfSigned", "twin's authentication type")
    equal(twin.x509_thumbprint.primary_thumbprint, SHA256, "twin's thumbprint")


@check
def device_ca(hub):
    """a device that a CA vouches for"""
    made = hub.create_device_with_certificate_authority(PREFIX + "ca", "enabled")
    equal(made.authentication.type, "certificateAuthority", "type")
    equal(made.authentication.symmetric_key.primary_key, None, "key")


@check
def device_update(hub):
    """updates with the etag that was read, with an old one, with a wildcard"""
    made = hub.get_device(PREFIX + "x509")
    updated = hub.update_device_with_x509(PREFIX + "x509", made.etag, SHA1, SHA256, "disabled", status_reason="r")
    equal(updated.authentication.x509_thumbprint.primary_thumbprint, SHA1, "thumbprint")
    equal(updated.status, "disabled", "status")
    if updated.etag == made.etag:
        raise AssertionError("the etag did not move")
    equal(updated.generation_id, made.generation_id, "generation id")
    refused(412, "PreconditionFailed", hub.update_device_with_x509, PREFIX + "x509", made.etag, SHA1, SHA256, "enabled")
    hub.update_device_with_x509(PREFIX + "x509", "*", SHA256, SHA256_LOWER, "enabled")
    refused(404, "DeviceNotFound", hub.update_device_with_certificate_authority, PREFIX + "nobody", "*", "enabled")


@check
def device_conflicts(hub):
    """a device that exists already, is missing, or is described wrongly"""
    refused(409, "DeviceAlreadyExists", hub.create_device_with_certificate_authority, PREFIX + "ca", "enabled")
    refused(404, "DeviceNotFound", hub.get_device, PREFIX + "nobody")
    refused(404, "DeviceNotFound", hub.delete_device, PREFIX + "nobody")
    refused(400, "ArgumentInvalid", hub.create_device_with_x509, PREFIX + "bad", "AB:CD", SHA256, "enabled")
    refused(400, "ArgumentInvalid", hub.create_device_with_sas, PREFIX + "bad", "c2hvcnQ=", "c2hvcnQ=", "enabled")
    refused(412, "PreconditionFailed", hub.delete_device, PREFIX + "ca", "b2xk")


@check
def edge_devices(hub):
    """an edge device with its system modules, and a leaf below it"""
    edge = hub.create_device_with_sas(PREFIX + "edge", "", "", "enabled", iot_edge=True)
    equal(edge.capabilities.iot_edge, True, "iotEdge")
    equal(edge.device_scope, f"ms-azure-iot-edge://{PREFIX}edge-{edge.generation_id}", "scope")
    modules = {module.module_id: module for module in hub.get_modules(PREFIX + "edge")}
    equal(sorted(modules), ["$edgeAgent", "$edgeHub"], "system modules")
    equal(modules["$edgeHub"].managed_by, "iotEdge", "managedBy")
    leaf = hub.create_device_with_sas(PREFIX + "leaf", "", "", "enabled", device_scope=edge.device_scope)
    equal(leaf.device_scope, edge.device_scope, "leaf's scope")
    equal(leaf.parent_scopes, [edge.device_scope], "leaf's parents")


@check
def modules(hub):
    """modules with keys, thumbprints and a CA; their lists, updates and refusals"""
    device = PREFIX + "ca"
    sas = hub.create_module_with_sas(device, "sas", "someone", "", "")
    equal(len(sas.authentication.symmetric_key.primary_key), 44, "generated key")
    equal(sas.managed_by, "someone", "managedBy")
    x509 = hub.create_module_with_x509(device, "x509", None, SHA256, SHA1)
    equal(x509.authentication.x509_thumbprint.secondary_thumbprint, SHA1, "thumbprint")
    equal(x509.managed_by, None, "managedBy")
    ca = hub.create_module_with_certificate_authority(device, "ca", None)
    equal((ca.device_id, ca.module_id, ca.authentication.type), (device, "ca", "certificateAuthority"), "module")
    equal(sorted(module.module_id for module in hub.get_modules(device)), ["ca", "sas", "x509"], "list")
    updated = hub.update_module_with_x509(device, "x509", None, x509.etag, SHA1, SHA256)
    equal(updated.authentication.x509_thumbprint.primary_thumbprint, SHA1, "updated thumbprint")
    refused(412, "PreconditionFailed", hub.update_module_with_x509, device, "x509", None, x509.etag, SHA1, SHA256)
    refused(409, "ModuleAlreadyExistsOnDevice", hub.create_module_with_certificate_authority, device, "ca", None)
    refused(404, "ModuleNotFound", hub.get_module, device, "nobody")
    refused(401, "IotHubUnauthorizedAccess", hub.get_module, PREFIX + "nobody", "ca")
    hub.delete_module(device, "sas")
    refused(404, "ModuleNotFound", hub.delete_module, device, "sas")


@check
def twin_patch(hub):
    """patches merge, count, and are guarded by etags"""
    device = PREFIX + "ca"
    fresh = hub.get_twin(device)
    equal((fresh.version, fresh.etag, fresh.tags), (2, "AAAAAAAAAAE=", None), "fresh twin")
    equal(fresh.properties.desired["$version"], 1, "desired version")
    equal(fresh.device_etag, hub.get_device(device).etag, "deviceEtag")
    patch = Twin(tags={"site": "munich", "old": 1}, properties=TwinProperties(desired={"a": {"b": 1, "c": [1, 2]}}))
    first = hub.update_twin(device, patch)
    equal((first.version, first.etag), (3, "AAAAAAAAAAI="), "version and etag")
    metadata = first.properties.desired["$metadata"]
    equal(metadata["a"]["b"]["$lastUpdatedVersion"], 2, "metadata")
    second = hub.update_twin(device, Twin(tags={"old": None}, properties=TwinProperties(desired={"a": {"b": None}})), first.etag)
    equal(second.tags, {"site": "munich"}, "tags")
    equal(second.properties.desired["a"], {"c": [1, 2]}, "desired")
    refused(412, "PreconditionFailed", hub.update_twin, device, desired({"x": 1}), first.etag)
    refused(400, "ArgumentInvalid", hub.update_twin, device, desired({"bad key": 1}))
    refused(404, "DeviceNotFound", hub.update_twin, PREFIX + "nobody", desired({"x": 1}))
    equal(hub.get_twin(device).version, second.version, "version after refusals")


@check
def twin_replace(hub):
    """a replacement leaves nothing of what was, and not of what the device reported"""
    device = PREFIX + "ca"
    before = hub.get_twin(device)
    replaced = hub.replace_twin(device, desired({"only": "this"}), before.etag)
    equal({name for name in replaced.properties.desired if name[0] != "$"}, {"only"}, "desired")
    equal(replaced.tags, {}, "tags")
    equal(replaced.properties.reported["$version"], 1, "reported version")
    refused(412, "PreconditionFailed", hub.replace_twin, device, desired({}), before.etag)


@check
def module_twin(hub):
    """the twin of a module, read, patched, replaced"""
    device = PREFIX + "ca"
    fresh = hub.get_module_twin(device, "ca")
    equal((fresh.module_id, fresh.version, fresh.authentication_type), ("ca", 2, "certificateAuthority"), "twin")
    patched = hub.update_module_twin(device, "ca", desired({"conditions": {"temperature": {"warning": 75}}}), "*")
    equal(patched.properties.desired["conditions"]["temperature"]["warning"], 75, "desired")
    equal((patched.version, patched.properties.desired["$version"]), (3, 2), "versions")
    # A whole twin, as it was read, may be sent back.
    again = hub.update_module_twin(device, "ca", patched, patched.etag)
    equal(again.properties.desired["conditions"], patched.properties.desired["conditions"], "desired sent back")
    replaced = hub.replace_module_twin(device, "ca", desired({"n": 1.5}), again.etag)
    equal(replaced.properties.desired["n"], 1.5, "replaced")
    refused(404, "DeviceNotFound", hub.get_module_twin, device, "nobody")


@check
def bulk(hub):
    """bulk calls: devices with twins, modules, updates, twins, deletions, and what fails among them"""
    ca = AuthenticationMechanism(type="certificateAuthority")
    keys = AuthenticationMechanism(type="sas", symmetric_key=SymmetricKey(primary_key=key(3), secondary_key=key(4)))
    properties = PropertyContainer(desired={"intervalSec": 60}, reported={})
    created = hub.bulk_create_or_update_devices(
        [
            bulk_item("bulk-1", "create", status="enabled", authentication=ca, tags={"line": 4}, properties=properties),
            bulk_item("bulk-2", "create", status="disabled", authentication=keys),
        ]
    )
    equal((created.is_successful, created.errors), (True, []), "creation")
    twin = hub.get_twin(PREFIX + "bulk-1")
    equal((twin.tags, twin.properties.desired["intervalSec"], twin.version), ({"line": 4}, 60, 2), "initial twin")
    two = hub.get_device(PREFIX + "bulk-2")
    equal((two.status, two.authentication.symmetric_key.primary_key), ("disabled", key(3)), "second device")

    mixed = hub.bulk_create_or_update_devices(
        [
            bulk_item("bulk-1", "create", status="enabled", authentication=ca),
            bulk_item("bulk-1", "create", module="m", status="enabled", authentication=ca),
            bulk_item("bulk-2", "updateIfMatchETag", e_tag=two.etag, status="enabled", authentication=keys),
            bulk_item("nobody", "update", status="enabled", authentication=ca),
        ]
    )
    equal(mixed.is_successful, False, "mixed call")
    errors = [(error.device_id, error.error_code) for error in mixed.errors]
    wanted = [(PREFIX + "bulk-1", "DeviceAlreadyExists"), (PREFIX + "nobody", "DeviceNotFound")]
    equal(errors, wanted, "errors")
    equal(hub.get_module(PREFIX + "bulk-1", "m").authentication.type, "certificateAuthority", "module made in bulk")
    equal(hub.get_device(PREFIX + "bulk-2").status, "enabled", "updated in bulk")

    twins = [bulk_item("bulk-1", "updateTwin", module="m", status="enabled", properties=properties)]
    equal(hub.bulk_create_or_update_devices(twins).is_successful, True, "twin in bulk")
    equal(hub.get_module_twin(PREFIX + "bulk-1", "m").properties.desired["intervalSec"], 60, "module's twin")

    deleted = hub.bulk_create_or_update_devices([bulk_item(name, "delete") for name in ("bulk-1", "bulk-2")])
    equal(deleted.is_successful, True, "deletion")
    refused(404, "DeviceNotFound", hub.get_device, PREFIX + "bulk-1")


@check
def bulk_bounds(hub):
    """a bulk call of 100 items is taken, one of 101 is not, nor one that names a device twice"""
    names = [f"many-{count:03}" for count in range(101)]
    items = [bulk_item(name, "create", status="enabled") for name in names]
    refused(413, "TooManyDevices", hub.bulk_create_or_update_devices, items)
    equal(hub.bulk_create_or_update_devices(items[:100]).is_successful, True, "100 items")
    # This one comes as an answer of 400, which the client takes for a result without a verdict.
    twice = hub.bulk_create_or_update_devices([bulk_item("many-100", "create"), bulk_item("many-100", "create")])
    equal(twice.is_successful, None, "an item twice")
    refused(404, "DeviceNotFound", hub.get_device, PREFIX + "many-100")


@check
def query_pages(hub):
    """a query gives every device once, page by page"""
    query = QuerySpecification(query=f"SELECT * FROM devices WHERE startswith(deviceId, '{PREFIX}many-')")
    found, token, pages = [], None, 0
    while True:
        page = hub.query_iot_hub(query, token, 30)
        found += [twin.device_id for twin in page.items]
        pages, token = pages + 1, page.continuation_token
        if not token:
            break
    equal(found, [f"{PREFIX}many-{count:03}" for count in range(100)], "devices")
    equal(pages, 4, "pages")


@check
def query_language(hub):
    """conditions, modules, counts, and the place of a mistake"""

    def ids(text):
        items = hub.query_iot_hub(QuerySpecification(query=text)).items
        return [(twin.device_id, twin.module_id) for twin in items]

    equal(ids(f"SELECT * FROM devices WHERE deviceId = '{PREFIX}edge'"), [(PREFIX + "edge", None)], "by id")
    equal(ids("select * from devices where capabilities.iotEdge = true"), [(PREFIX + "edge", None)], "edge devices")
    only = "SELECT * FROM devices WHERE properties.desired.only = 'this' AND NOT is_defined(tags.site)"
    equal(ids(only), [(PREFIX + "ca", None)], "by desired property")
    by_module = f"SELECT * FROM devices.modules WHERE deviceId = '{PREFIX}ca' AND moduleId IN ['ca', 'x509']"
    equal(ids(by_module), [(PREFIX + "ca", "ca"), (PREFIX + "ca", "x509")], "modules")
    refused(400, "ArgumentInvalid", hub.query_iot_hub, QuerySpecification(query="SELECT * FROM"))


@check
def statistics(hub):
    """the registry's statistics follow what is done"""
    before = hub.get_device_registry_statistics()
    hub.create_device_with_sas(PREFIX + "counted", "", "", "disabled")
    after = hub.get_device_registry_statistics()
    equal(after.total_device_count, before.total_device_count + 1, "total")
    equal(after.disabled_device_count, before.disabled_device_count + 1, "disabled")
    equal(after.enabled_device_count, before.enabled_device_count, "enabled")
    equal(hub.get_service_statistics().connected_device_count, 0, "connected")


@check
def list_devices(hub):
    """a list of devices has at most as many as are asked for"""
    equal(len(hub.get_devices(7)), 7, "devices")


@check
def methods(hub):
    """a method of a device that is not connected, and of one that is not there"""
    call = CloudToDeviceMethod(method_name="blink", payload={}, response_timeout_in_seconds=5)
    refused(404, "DeviceNotOnline", hub.invoke_device_method, PREFIX + "ca", call)
    refused(404, "DeviceNotFound", hub.invoke_device_method, PREFIX + "nobody", call)
    refused(404, "DeviceNotOnline", hub.invoke_device_module_method, PREFIX + "ca", "ca", call)


@check
def scheduled_jobs(hub):
    """a job that changes twins, and one that is cancelled before it begins"""
    jobs = manager(IoTHubJobManager)
    # A hub forgets no job: each run has its own.
    first, second = (f"judge-{time.time_ns()}-{number}" for number in (1, 2))
    request = JobRequest(
        job_id=first,
        type="scheduleUpdateTwin",
        update_twin=Twin(etag="*", tags={"by": "job"}),
        query_condition=f"deviceId = '{PREFIX}ca'",
        start_time=datetime.datetime.now(datetime.timezone.utc),
        max_execution_time_in_seconds=60,
    )
    equal(jobs.create_scheduled_job(first, request).job_id, first, "job")
    done = ended(jobs.get_scheduled_job, first)
    counted = done.device_job_statistics
    equal((done.status, counted.device_count, counted.succeeded_count), ("completed", 1, 1), "job's end")
    equal(hub.get_twin(PREFIX + "ca").tags["by"], "job", "tag")
    refused(409, "JobAlreadyExists", jobs.create_scheduled_job, first, request)
    request.job_id, request.start_time = second, in_an_hour()
    jobs.create_scheduled_job(second, request)
    jobs.cancel_scheduled_job(second)
    equal(ended(jobs.get_scheduled_job, second).status, "cancelled", "the other job's end")


@check
def import_export_jobs(hub):
    """all devices are exported to a container, and imported from it"""
    jobs, container = manager(IoTHubJobManager), os.environ["JUDGE_CONTAINER"]
    export = JobProperties(type="export", output_blob_container_uri=container, exclude_keys_in_export=False)
    made = jobs.create_import_export_job(export)
    equal(ended(jobs.get_import_export_job, made.job_id).status, "completed", "export")
    blob = os.path.join(container, "devices.txt")
    with open(blob) as file:
        exported = [json.loads(line) for line in file]
    equal(len({(item["id"], item.get("moduleId")) for item in exported}), len(exported), "identities")
    with open(blob, "w") as file:
        item = {"id": PREFIX + "imported", "importMode": "create", "status": "enabled"}
        file.write(json.dumps(item | {"authentication": {"type": "certificateAuthority"}}))
    load = JobProperties(
        type="import", input_blob_container_uri=container, output_blob_container_uri=container
    )
    made = jobs.create_import_export_job(load)
    equal(ended(jobs.get_import_export_job, made.job_id).status, "completed", "import")
    equal(hub.get_device(PREFIX + "imported").authentication.type, "certificateAuthority", "imported device")
    if made.job_id not in [job.job_id for job in jobs.get_import_export_jobs()]:
        raise AssertionError("the list lacks the job")


@check
def configurations(hub):
    """a configuration is kept, changed and deleted; content is applied to an edge device"""
    kept, name = manager(IoTHubConfigurationManager), PREFIX + "configuration"
    content = ConfigurationContent(device_content={"properties.desired.wifi": {"ssid": "line"}})
    wanted = Configuration(id=name, content=content, target_condition="tags.site='munich'", priority=3)
    made = kept.create_configuration(wanted)
    equal((made.id, made.priority), (name, 3), "configuration")
    refused(409, "ConfigurationAlreadyExists", kept.create_configuration, wanted)
    made.priority = 4
    # This client does not quote the etags of configurations, and only quoted ones are honoured.
    kept.update_configuration(made, f'"{made.etag}"')
    equal(kept.get_configuration(name).priority, 4, "priority")
    equal([found.id for found in kept.get_configurations(20)], [name], "list")
    queries = ConfigurationQueriesTestInput(target_condition="tags.site='munich'")
    equal(kept.test_configuration_queries(queries).target_condition_error, None, "condition")
    modules = {"$edgeAgent": {"properties.desired": {"schemaVersion": "1.1"}}}
    kept.apply_configuration_on_edge_device(PREFIX + "edge", ConfigurationContent(modules_content=modules))
    twin = hub.get_module_twin(PREFIX + "edge", "$edgeAgent")
    equal(twin.properties.desired["schemaVersion"], "1.1", "the agent's twin")
    kept.delete_configuration(name)
    refused(404, "ConfigurationNotFound", kept.get_configuration, name)


@check
def what_is_not_built(hub):
    """feedback is answered with 501 and its name"""
    try:
        manager(IoTHubHttpRuntimeManager).receive_feedback_notification()
    except HttpOperationError as error:
        equal(error.response.status_code, 501, "status")
        if "ReceiveFeedbackNotification" not in error.response.text:
            raise AssertionError(error.response.text)
        return
    raise AssertionError("it was answered")


@check
def awkward_ids(hub):
    """an id of every legal character"""
    device = PREFIX + "-:.+%_#*?!(),=@$';"
    hub.create_device_with_certificate_authority(device, "enabled")
    equal(hub.get_device(device).device_id, device, "device")
    equal(hub.get_twin(device).device_id, device, "twin")
    hub.delete_device(device)


@check
def strangers(hub):
    """a wrong key is 401"""
    parts = dict(part.split("=", 1) for part in os.environ["IOTHUB_CONNECTION_STRING"].split(";"))
    parts["SharedAccessKey"] = key(9)
    wrong = ";".join(f"{name}={value}" for name, value in parts.items())
    stranger = IoTHubRegistryManager.from_connection_string(wrong)
    refused(401, "IotHubUnauthorizedAccess", stranger.get_device, PREFIX + "ca")


def clean(hub):
    """Deletes every configuration and every device of ours."""
    kept = manager(IoTHubConfigurationManager)
    for found in kept.get_configurations(100):
        if found.id.startswith(PREFIX):
            kept.delete_configuration(found.id)
    query = QuerySpecification(query=f"SELECT * FROM devices WHERE startswith(deviceId, '{PREFIX}')")
    while True:
        found = hub.query_iot_hub(query, None, 100).items
        if not found:
            return
        names = [twin.device_id for twin in found]
        hub.bulk_create_or_update_devices([ExportImportDevice(id=name, import_mode="delete") for name in names])


def main():
    connection = os.environ.get("IOTHUB_CONNECTION_STRING")
    if not connection:
        print("cannot begin: IOTHUB_CONNECTION_STRING is not set", file=sys.stderr)
        return 2
    hub = IoTHubRegistryManager.from_connection_string(connection.strip())
    clean(hub)
    failed = 0
    started = time.monotonic()
    for function in CHECKS:
        try:
            function(hub)
            print(f"ok      {function.__name__}: {function.__doc__}")
        except Exception as error:  # whatever a client throws is a finding
            failed += 1
            print(f"FAILED  {function.__name__}: {function.__doc__}\n        {error}")
            if not isinstance(error, AssertionError):
                traceback.print_exc()
    clean(hub)
    seconds = time.monotonic() - started
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed in {seconds:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
