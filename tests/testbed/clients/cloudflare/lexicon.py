"""lexicon as its hook for dehydrated calls it."""
import functools
import os
import sys

import tldextract

import lexicon._private.providers.cloudflare as cloudflare
from lexicon.client import Client
from lexicon.config import ConfigResolver

action, zone, name, value = sys.argv[1:5]
make = cloudflare.Provider.__init__


def make_here(self, config):
    make(self, config)
    self.api_endpoint = os.environ["API"]


cloudflare.Provider.__init__ = make_here
# Of the public suffixes it knows those that come with it, and the one of the tests: it asks nobody.
tldextract.TLDExtract = functools.partial(
    tldextract.TLDExtract, suffix_list_urls=(), extra_suffixes=["test"]
)
config = ConfigResolver().with_dict(
    {
        "provider_name": "cloudflare",
        "domain": zone,
        "cloudflare": {"auth_token": os.environ["TOKEN"]},
    }
)
with Client(config) as operations:
    if action == "add":
        assert operations.create_record("TXT", name, value)
    found = [record["content"] for record in operations.list_records("TXT", name)]
    assert any(value in content for content in found), found
    if action == "remove":
        assert operations.delete_record(rtype="TXT", name=name, content=value)
