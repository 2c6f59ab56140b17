"""Signatures of contracts: who stands for one, by Ed25519 keys in PEM files."""

from __future__ import annotations

import getpass
import hashlib
import os
from pathlib import Path
from typing import Any, Literal

from adnn_optuna._checks import (
    WrongTypeError,
    WrongValueError,
    check_installed,
    check_output_file,
    first_line,
)
from adnn_optuna.accountability.contract_file import BreachedError, find_in, read_contract

_MADE_BY = {
    "private": "openssl genpkey -algorithm ed25519 -out key.pem",
    "public": "openssl pkey -in key.pem -pubout -out public.pem",
}


def sign(path: str | os.PathLike[str], key: str | os.PathLike[str]) -> Path:
    """Sign a contract, so that :func:`~adnn_optuna.verify` can tell who stands for it.

    The signature is Ed25519's of the file's bytes, and so of the SHA-256 of the weights and the
    model that these state: 64 bytes, as OpenSSL writes them too. That of
    ``fashion.contract.json`` is the file ``fashion.contract.json.sig``, which is replaced.

    Example: ``adnn.sign("fashion.contract.json", "key.pem")``

    Args:
        path: The contract's file.
        key: The PEM file of a private key; a passphrase is asked for on the terminal.

    Returns:
        The signature's file.

    Raises:
        ValueError: If the key or the contract cannot be read, the contract was edited, or the
            signature cannot be written.
        ImportError: If the package ``cryptography`` is not installed.
        FileNotFoundError: If the folder of the contract does not exist.
    """
    path, private = Path(path), read_key(key, "private")
    read_contract(path)  # What is none is not signed.
    file = path.with_name(f"{path.name}.sig")
    check_output_file("The signature", file)
    file.write_bytes(private.sign(path.read_bytes()))
    return file


def check_signature(path: Path, public: Any) -> str:
    """Return by whom a contract is signed; refuse one that is not signed by this key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    whose = f"the key with the SHA-256 {hashlib.sha256(der).hexdigest()}"
    name = f"{path.name}.sig"
    file = find_in(path.parent, name, "signature")
    if file is None:
        raise BreachedError(f"signature: there is no file {name!r} beside the contract.")
    try:
        public.verify(file.read_bytes(), path.read_bytes())
    except InvalidSignature:
        said = f"signature: {name!r} is not the signature of this contract by {whose}."
        raise BreachedError(said) from None
    return f"signed by {whose}"


def read_key(path: str | os.PathLike[str], kind: Literal["private", "public"]) -> Any:
    """Return the Ed25519 key in a PEM file; ask for its passphrase if it is encrypted."""
    check_installed("cryptography", "A signature")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    try:
        content = Path(path).read_bytes()
        if kind == "public":
            key: Any = serialization.load_pem_public_key(content)
        else:
            is_encrypted = b"ENCRYPTED" in content
            given = getpass.getpass(f"Passphrase of {path}: ").encode() if is_encrypted else None
            key = serialization.load_pem_private_key(content, given)
        if not isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
            raise WrongTypeError(f"it is a {type(key).__name__}")
    # Of an empty passphrase it is a TypeError, and of a closed terminal an EOFError.
    except (OSError, TypeError, ValueError, EOFError, UnsupportedAlgorithm) as error:
        why = getattr(error, "strerror", None) or first_line(error)
        said = f"{os.fspath(path)!r} cannot be read as an Ed25519 {kind} key in PEM ({why})"
        raise WrongValueError(f"{said}; make one by {_MADE_BY[kind]}.") from None
    return key
