"""The catalog: sums change by change, spellings as first written, pages of bounded size."""

import pytest
from callboard.registry import Instance, InstanceName, ServicesTopic, ServiceTopic, Status
from callboard.registry.catalog import PAGE_INSTANCES_MAX, Catalog, Entry
from callboard.registry.instance import encode_instance
from callboard.registry.views import ServiceSummary


class Filled(Catalog):
    """A catalog that numbers its changes by itself."""

    def __init__(self):
        super().__init__()
        self.index = 0

    def show(self, service, instance_id, namespace="default", **fields):
        self.index += 1
        instance = Instance(
            service=service, namespace=namespace, id=instance_id, address="::1", **fields
        )
        name = InstanceName(namespace.lower(), service.lower(), instance_id.lower())
        self.put(name, instance, Entry(encode_instance(instance), self.index, self.index))
        return name

    def take_off(self, name):
        self.index += 1
        return self.remove(name, self.index)

    def summary(self, service="web", namespace="default"):
        found = self.service(namespace, service)
        return found and found.summary()


@pytest.fixture
def catalog():
    return Filled()


@pytest.mark.parametrize(
    ("status", "passing"), [("passing", 1), ("warning", 1), ("critical", 0), ("maintenance", 0)]
)
def test_only_what_may_get_traffic_counts_as_passing(catalog, status, passing):
    catalog.show("web", "a", status=Status(status))
    assert catalog.summary() == ServiceSummary("web", 1, passing, [])


def test_a_replacement_takes_back_what_it_replaces_from_the_sums(catalog):
    catalog.show("web", "a", tags=("v1", "blue"))
    catalog.show("web", "b", tags=("v1",))
    assert catalog.summary() == ServiceSummary("web", 2, 2, ["blue", "v1"])
    catalog.show("web", "a", tags=("v2",), status=Status.CRITICAL)
    assert catalog.summary() == ServiceSummary("web", 2, 1, ["v1", "v2"])
    catalog.take_off(InstanceName("default", "web", "b"))
    assert catalog.summary() == ServiceSummary("web", 1, 0, ["v2"])


def test_a_tag_written_twice_goes_with_its_instance(catalog):
    catalog.show("web", "a")
    name = catalog.show("web", "b", tags=("v1", "v1"))
    assert catalog.summary().tags == ["v1"]
    catalog.take_off(name)
    assert catalog.summary().tags == []


def test_the_last_instance_takes_its_service_and_namespace_along(catalog):
    name = catalog.show("web", "a", namespace="blue")
    assert (catalog.service_count, catalog.instance_count) == (1, 1)
    assert catalog.take_off(name).instance.id == "a"
    assert (catalog.service_count, catalog.instance_count) == (0, 0)
    assert catalog.summary(namespace="blue") is None
    assert list(catalog.summaries("blue")) == list(catalog.pages(ServicesTopic("blue"))) == []


def test_taking_off_what_is_not_there_changes_nothing(catalog):
    catalog.show("web", "a")
    for name in (("default", "web", "b"), ("default", "db", "a"), ("blue", "web", "a")):
        assert catalog.remove(InstanceName(*name), 99) is None
    assert catalog.modify_index(ServicesTopic(None)) == 1
    assert catalog.instance_count == 1


def test_names_are_spelled_as_first_written_and_others_as_they_come(catalog):
    catalog.show("Web", "A", namespace="Blue")
    again = Instance(service="WEB", namespace="BLUE", id="a", address="")
    names = InstanceName("blue", "web", "a")
    assert catalog.spelled(names, again) == ("Blue", "Web", "A")
    assert catalog.spelled(names._replace(id="b"), again) == ("Blue", "Web", "a")
    assert catalog.spelled(names._replace(service="db"), again) == ("Blue", "WEB", "a")
    assert catalog.spelled(names._replace(namespace="red"), again) == ("BLUE", "WEB", "a")


def test_a_change_is_one_to_its_service_its_namespace_and_to_all(catalog):
    catalog.show("web", "a")
    catalog.show("db", "a")
    catalog.show("web", "a", namespace="blue")
    assert [
        catalog.modify_index(topic)
        for topic in (
            ServiceTopic("default", "web"),
            ServiceTopic("default", "db"),
            ServicesTopic("default"),
            ServiceTopic("blue", "web"),
            ServicesTopic("blue"),
            ServicesTopic(None),
        )
    ] == [1, 2, 2, 3, 3, 3]


def test_what_went_is_remembered_until_it_comes_back(catalog):
    name = catalog.show("web", "a")
    catalog.show("db", "a", namespace="blue")
    catalog.take_off(name)
    catalog.show("db", "b", namespace="blue")
    topics = ServiceTopic("default", "web"), ServicesTopic("default")
    assert [catalog.modify_index(topic) for topic in topics] == [3, 3]
    catalog.show("web", "a")
    assert [catalog.modify_index(topic) for topic in topics] == [5, 5]


def test_after_a_load_nothing_is_older_than_the_load(catalog):
    catalog.show("web", "a")
    catalog.loaded(9)
    for topic in (
        ServiceTopic("default", "web"),
        ServiceTopic("no", "where"),
        ServicesTopic("default"),
        ServicesTopic("nowhere"),
        ServicesTopic(None),
    ):
        assert catalog.modify_index(topic) == 9


def test_pages_hold_everything_asked_for_once_and_little_at_a_time(catalog):
    many = PAGE_INSTANCES_MAX * 2 + 1
    for number in range(many):
        catalog.show("big", str(number))
        catalog.show(f"small-{number}", "a", namespace="blue")
    for topic, expected in (
        (ServiceTopic("default", "big"), many),
        (ServicesTopic("blue"), many),
        (ServicesTopic(None), 2 * many),
    ):
        pages = list(catalog.pages(topic))
        names = [name for page in pages for name, _ in page]
        assert len(names) == len(set(names)) == expected
        assert all(0 < len(page) < 2 * PAGE_INSTANCES_MAX for page in pages)


def test_listings_go_on_while_services_come_and_go(catalog):
    for letter in "abc":
        catalog.show(f"web-{letter}", "1")
    summaries = catalog.summaries("default")
    assert next(summaries).name == "web-a"
    catalog.take_off(InstanceName("default", "web-b", "1"))
    catalog.show("web-c", "2")
    catalog.show("web-d", "1")
    assert [(found.name, found.instances) for found in summaries] == [("web-c", 2)]
