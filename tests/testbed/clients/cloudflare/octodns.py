"""octoDNS brings a zone to what is wanted: it reads all of it and changes what differs."""
import os
import sys

from octodns.record import Record
from octodns.zone import Zone
from octodns_cloudflare import CloudflareProvider

action, zone, name, value = sys.argv[1:5]
provider = CloudflareProvider(
    "cloudflare", token=os.environ["TOKEN"], api_url=os.environ["API"], pagerules=False, retry_count=0
)


def read():
    found = Zone(zone + ".", [])
    provider.populate(found)
    return found


label = name[: -len(zone) - 1]
wanted = Zone(zone + ".", [])
values = []
for record in read().records:
    if record._type == "TXT" and record.name == label:
        values = list(record.values)
    else:
        wanted.add_record(record)
values = [other for other in values if other != value] + ([value] if action == "add" else [])
if values:
    data = {"type": "TXT", "ttl": 300, "values": values}
    wanted.add_record(Record.new(wanted, label, data))
provider.apply(provider.plan(wanted))
# As one that has not seen the zone before.
provider._zones, provider._zone_records = None, {}
assert [r.values for r in read().records if r._type == "TXT"] == ([sorted(values)] if values else [])
