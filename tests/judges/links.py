"""From a share link to a configuration of an Xray client.

Reads links, one a line, and writes one JSON configuration a line, with SOCKS on the port that the first argument
names. Written from the published standard with the standard library alone, so that it shares nothing with what wrote
the links; whatever the standard does not name is an error.
"""

import base64
import json
import sys
from urllib.parse import unquote, urlsplit


def stream(query: dict[str, str]) -> dict[str, object]:
    network = query.pop("type")
    made: dict[str, object] = {"network": network, "security": query.pop("security", "none")}
    if network in ("ws", "httpupgrade", "xhttp"):
        settings = {"path": query.pop("path", "/")}
        if "host" in query:
            settings["host"] = query.pop("host")
        if network == "xhttp" and "mode" in query:
            settings["mode"] = query.pop("mode")
        made[f"{network}Settings"] = settings
    elif network == "grpc":
        made["grpcSettings"] = {"serviceName": query.pop("serviceName")}
    elif network != "tcp":
        raise ValueError(f"no such transport: {network}")
    if made["security"] == "tls":
        tls: dict[str, object] = {"serverName": query.pop("sni"), "fingerprint": query.pop("fp", "chrome")}
        if "alpn" in query:
            tls["alpn"] = query.pop("alpn").split(",")
        if "pcs" in query:
            tls["pinnedPeerCertSha256"] = query.pop("pcs")
        made["tlsSettings"] = tls
    elif made["security"] == "reality":
        made["realitySettings"] = {
            "serverName": query.pop("sni"),
            "fingerprint": query.pop("fp", "chrome"),
            "publicKey": query.pop("pbk"),
            "shortId": query.pop("sid", ""),
        }
    return made


def pairs(text: str) -> dict[str, str]:
    query: dict[str, str] = {}
    for pair in filter(None, text.split("&")):
        name, _, value = pair.partition("=")
        if name in query or not value or "+" in value or " " in value:
            raise ValueError(f"{name}: twice, empty or not encoded")
        query[name] = unquote(value, errors="strict")
    return query


def outbound(link: str) -> dict[str, object]:
    url = urlsplit(link)
    assert url.hostname and url.port, "host and port"
    user = url.netloc.rpartition("@")[0]
    query = pairs(url.query)
    address = {"address": url.hostname, "port": url.port}
    made: dict[str, object]
    if url.scheme == "vless":
        account = {"id": user, "encryption": query.pop("encryption"), "flow": query.pop("flow", "")}
        made = {"protocol": "vless", "settings": {"vnext": [{**address, "users": [account]}]}}
        made["streamSettings"] = stream(query)
    elif url.scheme == "vmess":
        account = {"id": user, "security": query.pop("encryption")}
        made = {"protocol": "vmess", "settings": {"vnext": [{**address, "users": [account]}]}}
        made["streamSettings"] = stream(query)
    elif url.scheme == "trojan":
        made = {"protocol": "trojan", "settings": {"servers": [{**address, "password": unquote(user)}]}}
        made["streamSettings"] = stream(query)
    elif url.scheme == "ss":
        if ":" not in user:
            user = base64.urlsafe_b64decode(user + "=" * (-len(user) % 4)).decode()
            method, _, password = user.partition(":")
        else:
            method, password = (unquote(part) for part in user.split(":"))
        server = {**address, "method": method, "password": password}
        made = {"protocol": "shadowsocks", "settings": {"servers": [server]}}
        if query:
            made["streamSettings"] = stream(query)
    elif url.scheme == "hysteria2":
        assert url.path == "/", url.path
        tls = {"serverName": query.pop("sni"), "alpn": ["h3"]}
        if "pinSHA256" in query:
            tls["pinnedPeerCertSha256"] = query.pop("pinSHA256")
            assert query.pop("insecure") == "1"
        settings = {"network": "hysteria", "security": "tls", "tlsSettings": tls}
        settings["hysteriaSettings"] = {"version": 2, "auth": unquote(user)}
        if query.pop("obfs", None) == "salamander":
            mask = {"type": "salamander", "settings": {"password": query.pop("obfs-password")}}
            settings["finalmask"] = {"udp": [mask]}
        made = {"protocol": "hysteria", "settings": {"version": 2, **address}, "streamSettings": settings}
    elif url.scheme == "wireguard":
        peer = {"publicKey": query.pop("publickey"), "endpoint": f"{url.hostname}:{url.port}"}
        peer["keepAlive"] = int(query.pop("keepalive", "0"))
        if "presharedkey" in query:
            peer["preSharedKey"] = query.pop("presharedkey")
        settings = {"secretKey": unquote(user), "address": query.pop("address").split(","), "peers": [peer]}
        settings |= {"mtu": int(query.pop("mtu")), "noKernelTun": True}
        made = {"protocol": "wireguard", "settings": settings}
    else:
        raise ValueError(f"no such scheme: {url.scheme}")
    if query:
        raise ValueError(f"not in the standard: {', '.join(query)}")
    return made


def main() -> None:
    port = int(sys.argv[1])
    for line in sys.stdin:
        link = line.rstrip("\n")
        if not link.isascii() or " " in link:
            raise ValueError("not a URL")
        socks = {"listen": "127.0.0.1", "port": port, "protocol": "socks", "settings": {"udp": True}}
        config = {"log": {"loglevel": "warning"}, "inbounds": [socks], "outbounds": [outbound(link)]}
        config["remarks"] = unquote(urlsplit(link).fragment, errors="strict")
        print(json.dumps(config))


if __name__ == "__main__":
    main()
