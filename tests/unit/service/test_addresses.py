"""Which addresses are the internet's, and nothing but that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.addresses import is_public

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"]

INSIDE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "168.63.129.16",
    "192.0.0.170",
    "198.18.0.1",
    "224.0.0.1",
    "233.252.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "100::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", [*INSIDE, "", "localhost", "8.8.8", "134744072", "0x08080808"])
def test_what_only_some_can_reach_is_not_nor_what_is_no_address(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "embedded",
    [
        "::{v4}",
        "::ffff:{v4}",
        "::ffff:0:{v4}",
        "64:ff9b::{v4}",
        "64:ff9b:1::{v4}",
        "2002:{hex}::1",
        "2001:0:{hex}::1",
        "2a00:1450:4001:81b::5efe:{v4}",
        "2a00:1450:4001:81b:200:5efe:{v4}",
    ],
)
@given(st.ip_addresses(v=4))
def test_no_ipv6_address_that_embeds_an_ipv4_address_is(embedded: str, v4: object) -> None:
    octets = [int(one) for one in str(v4).split(".")]
    text = embedded.format(v4=v4, hex=f"{octets[0]:02x}{octets[1]:02x}:{octets[2]:02x}{octets[3]:02x}")
    assert not is_public(text)
