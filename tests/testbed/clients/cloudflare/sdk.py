"""Cloudflare's own library: each answer has to be of the published types."""
import os
import sys

from cloudflare import Cloudflare

action, zone, name, value = sys.argv[1:5]
api = Cloudflare(
    api_token=os.environ["TOKEN"],
    base_url=os.environ["API"],
    max_retries=0,
    _strict_response_validation=True,
)
assert api.user.tokens.verify().status == "active"
(found,) = list(api.zones.list(name=zone))
assert found.name == zone and found.name_servers, found
assert [z.id for z in api.zones.list(per_page=5)].count(found.id) == 1
assert api.zones.get(zone_id=found.id).id == found.id
records = api.dns.records


def listed():
    return list(records.list(zone_id=found.id, type="TXT", name={"exact": name}))


if action == "add":
    made = records.create(zone_id=found.id, type="TXT", name=name, content=f'"{value}"', ttl=60, comment="a")
    assert records.get(made.id, zone_id=found.id).comment == "a"
    assert records.edit(made.id, zone_id=found.id, type="TXT", name=name, ttl=120, comment="b").comment == "b"
    other = {"type": "TXT", "name": name, "content": '"other"', "ttl": 60}
    done = records.batch(zone_id=found.id, posts=[other])
    assert len(done.posts) == 1 and len(listed()) >= 2
    records.batch(zone_id=found.id, deletes=[{"id": done.posts[0].id}])
    assert made.id in [record.id for record in listed()]
else:
    (gone,) = [record for record in listed() if record.content == f'"{value}"']
    assert records.delete(gone.id, zone_id=found.id).id == gone.id
