"""HTTPS: a certificate that was given, or one that this machine made for itself.

A self-signed one is kept in the folder of what users made, so that a browser's exception and a client's pin stay good.
It is made anew when it is about to expire, or when the server has another name.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streamgen.config import ServerConfig
from streamgen.errors import ConfigError

__all__ = ["Certificate", "certificate_of"]

_LIFE = timedelta(days=397)
_RENEW_BEFORE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the server shows its clients.

    Args:
        context: of the server's side of TLS, version 1.2 or later.
        fingerprint: SHA-256 of the certificate, as browsers show it.
    """

    context: ssl.SSLContext
    fingerprint: str


def certificate_of(config: ServerConfig, now: datetime | None = None) -> Certificate | None:
    """The certificate that ``config`` asks for; None for plain HTTP.

    Raises:
        ConfigError: ``bad_certificate``, naming the option at fault.
    """
    if config.tls_self_signed:
        if config.tls_cert or config.tls_key:
            raise ConfigError("bad_certificate", "--tls-self-signed makes a certificate of its own", field="tls_cert")
        return _load(*_self_signed(config, now or datetime.now(UTC)))
    if config.tls_cert is None and config.tls_key is None:
        return None
    if config.tls_cert is None:
        raise ConfigError("bad_certificate", "--tls-key needs the certificate, --tls-cert", field="tls_cert")
    if config.tls_key is None:
        raise ConfigError("bad_certificate", "--tls-cert needs its key, --tls-key", field="tls_key")
    return _load(config.tls_cert, config.tls_key)


def _load(cert: Path, key: Path) -> Certificate:
    for field, path in (("tls_cert", cert), ("tls_key", key)):
        if not path.is_file():
            raise ConfigError("bad_certificate", f"there is no file {path}", field=field)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=_no_password)
        first = ssl.PEM_cert_to_DER_cert(_first(cert.read_text(encoding="ascii")))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        fact = f"{cert} and {key} are no certificate in PEM with its key: {error}"
        raise ConfigError("bad_certificate", fact, field="tls_cert") from None
    return Certificate(context, hashlib.sha256(first).digest().hex(":").upper())


def _no_password() -> str:
    """A key with a password would have OpenSSL ask for it on the terminal."""
    raise ValueError("the key must not have a password")


def _first(pem: str) -> str:
    end = "-----END CERTIFICATE-----"
    head, found, _ = pem[max(pem.find("-----BEGIN CERTIFICATE-----"), 0) :].partition(end)
    return head + found


def _self_signed(config: ServerConfig, now: datetime) -> tuple[Path, Path]:
    """Files with a certificate and its key, made unless they are good already.

    Raises:
        ConfigError: ``bad_certificate``: there is nowhere to keep them.
    """
    if config.data is None:
        raise ConfigError("bad_certificate", "STREAMGEN_DATA says where to keep a certificate", field="tls_self_signed")
    folder = config.data / "tls"
    cert, key = folder / "certificate.pem", folder / "key.pem"
    names = _names(config.host)
    if not (key.is_file() and cert.is_file() and _is_good(cert.read_bytes(), names, now)):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(cert, key, names, now)
        except OSError as error:
            fact = f"a certificate cannot be kept in {folder}: {error}"
            raise ConfigError("bad_certificate", fact, field="tls_self_signed") from None
    return cert, key


def _names(host: str) -> tuple[str, ...]:
    """What clients may call the server: the loopback, this machine's name, and the address it listens on."""
    named = [name.lower().encode("idna").decode() for name in (socket.gethostname(), host)]
    return tuple(dict.fromkeys(("localhost", "127.0.0.1", "::1", *named)))


def _is_good(pem: bytes, names: tuple[str, ...], now: datetime) -> bool:
    try:
        made = x509.load_pem_x509_certificate(pem)
        alternatives = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    held = {str(name.value) for name in alternatives}
    return held.issuperset(names) and now + _RENEW_BEFORE < made.not_valid_after_utc


def _make(cert: Path, key: Path, names: tuple[str, ...], now: datetime) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "streamgen")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    private = secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key.unlink(missing_ok=True)
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
