"""Signatures: each is of one file and by one key, and of no other file and by no other key."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from search_worker import quick_training

import adnn_optuna as adnn

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

CONTRACT = "digits.contract.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract")
    training = quick_training("sgd", batch_size=200, epochs=1)
    objective = adnn.InitOffsetObjective(
        adnn.MLP((4,)), adnn.load_dataset("digits"), training=training
    )
    adnn.search(objective, "greedy", max_trial=2).contract().save(folder / CONTRACT)
    return folder


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path / CONTRACT


def write_keys(
    folder: Path,
    name: str = "key",
    passphrase: bytes = b"",
    private: Ed25519PrivateKey | EllipticCurvePrivateKey | None = None,
) -> tuple[Path, Path]:
    """Write the files of a private key and of its public key."""
    private = private or Ed25519PrivateKey.generate()
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    files = folder / f"{name}.pem", folder / f"{name}.public.pem"
    files[0].write_bytes(private.private_bytes(pem, pkcs8, encryption))
    files[1].write_bytes(private.public_key().public_bytes(pem, spki))
    return files


def test_says_who_signed(path: Path) -> None:
    private, public = write_keys(path.parent)
    content = path.read_bytes()
    assert adnn.sign(path, private) == path.with_name(f"{CONTRACT}.sig")
    assert path.read_bytes() == content
    key = serialization.load_pem_public_key(public.read_bytes())
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = f"signed by the key with the SHA-256 {hashlib.sha256(der).hexdigest()}"
    verdict = adnn.verify(path, key=public)
    assert (verdict.status, verdict.findings[-1]) == ("exact", signed)
    assert f"\n  - {signed}" in str(verdict)
    # Without the key it is as without a signature.
    unsigned = adnn.verify(path)
    assert unsigned.findings == verdict.findings[:-1]
    path.with_name(f"{CONTRACT}.sig").unlink()
    assert adnn.verify(path) == unsigned
    # Who signed what does not hold is known, too.
    adnn.sign(path, private)
    path.with_suffix(".npz").write_bytes(b"other weights")
    verdict = adnn.verify(path, key=public)
    assert (verdict.status, verdict.findings) == ("breached", (signed,))


def test_is_breached_without_a_signature_by_the_key(path: Path) -> None:
    private, public = write_keys(path.parent)
    signature = path.with_name(f"{CONTRACT}.sig")
    verdict = adnn.verify(path, key=public)
    assert (verdict.status, verdict.findings) == ("breached", ())
    assert verdict.reasons == (
        f"signature: there is no file '{signature.name}' beside the contract.",
    )
    _, other = write_keys(path.parent, "other")
    adnn.sign(path, private)
    right, content = signature.read_bytes(), path.read_bytes()
    der = serialization.load_pem_public_key(public.read_bytes()).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # Still a sound contract, but not the file that was signed.
    edited = content.replace(b"\n", b"\n ", 1)
    for wrong, signed, key in (
        (right, content, other),
        (right, edited, public),
        (right[:-1] + bytes([right[-1] ^ 1]), content, public),
        (right[:-1], content, public),
        (right + b"\n", content, public),
        (b"", content, public),
    ):
        signature.write_bytes(wrong)
        path.write_bytes(signed)
        verdict = adnn.verify(path, key=key)
        assert (verdict.status, verdict.findings) == ("breached", ())
        [reason] = verdict.reasons
        said = f"signature: {signature.name!r} is not the signature of this contract by the key "
        assert reason.startswith(f"{said}with the SHA-256 ")
        assert (hashlib.sha256(der).hexdigest() in reason) == (key == public)
    (path.parent / "elsewhere").mkdir()
    signature.rename(path.parent / "elsewhere" / "a.sig")
    signature.symlink_to(path.parent / "elsewhere" / "a.sig")
    verdict = adnn.verify(path, key=public)
    assert verdict.status == "cannot_check"
    assert verdict.reasons[0].startswith(f"signature: '{signature.name}' leads out of")


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl")
def test_is_what_openssl_writes_and_reads(path: Path) -> None:
    def openssl(arguments: str) -> None:
        command = ["openssl", *arguments.split()]
        subprocess.run(command, cwd=path.parent, check=True, capture_output=True)

    # As the refusal of a missing key says.
    with pytest.raises(ValueError, match=r"No such file.*make one by openssl genpkey") as refusal:
        adnn.sign(path, path.with_name("key.pem"))
    openssl(str(refusal.value).split("openssl ")[1].rstrip("."))
    adnn.sign(path, path.with_name("key.pem"))
    with pytest.raises(ValueError, match=r"No such file.*make one by openssl pkey") as refusal:
        adnn.verify(path, key=path.with_name("public.pem"))
    openssl(str(refusal.value).split("openssl ")[1].rstrip("."))
    of_file = f"-rawin -in {CONTRACT}"
    openssl(f"pkeyutl -verify -pubin -inkey public.pem {of_file} -sigfile {CONTRACT}.sig")
    openssl(f"pkeyutl -sign -inkey key.pem {of_file} -out {CONTRACT}.sig")
    verdict = adnn.verify(path, key=path.with_name("public.pem"))
    assert verdict.findings[-1].startswith("signed by")


def test_refuses_other_keys_in_one_sentence(path: Path) -> None:
    private, public = write_keys(path.parent)
    adnn.sign(path, private)
    of_a_curve = write_keys(path.parent, "curve", private=generate_private_key(SECP256R1()))
    (no_key := path.with_name("no key")).write_bytes(b"\0nothing")
    folder = path.parent
    made_by = {
        "private": "openssl genpkey -algorithm ed25519 -out key.pem",
        "public": "openssl pkey -in key.pem -pubout -out public.pem",
    }
    for kind, wrong, why in (
        ("private", no_key, ".+"),
        ("private", public, ".+"),
        ("private", folder, "Is a directory"),
        ("private", of_a_curve[0], "it is a ECPrivateKey"),
        ("public", no_key, ".+"),
        ("public", private, ".+"),
        ("public", folder, "Is a directory"),
        ("public", of_a_curve[1], "it is a ECPublicKey"),
    ):
        with pytest.raises(ValueError, match="cannot be read") as refusal:
            adnn.sign(path, wrong) if kind == "private" else adnn.verify(path, key=wrong)
        said = rf"'{wrong}' cannot be read as an Ed25519 {kind} key in PEM \({why}\)"
        assert re.fullmatch(rf"{said}; make one by {made_by[kind]}\.", str(refusal.value))


def test_signs_nothing_but_contracts_as_they_were_written(path: Path) -> None:
    private, _ = write_keys(path.parent)
    path.write_text(path.read_text().replace('"epochs": 1', '"epochs": 2'))
    with pytest.raises(ValueError, match="was edited after it was written"):
        adnn.sign(path, private)
    with pytest.raises(ValueError, match="does not exist"):
        adnn.sign(path.with_name("missing.json"), private)
    assert not [*path.parent.glob("*.sig")]


def test_writes_no_signature_over_a_folder(path: Path) -> None:
    private, _ = write_keys(path.parent)
    (signature := path.with_name(f"{CONTRACT}.sig")).mkdir()
    with pytest.raises(ValueError, match="it is a folder") as refusal:
        adnn.sign(path, private)
    said = f"The signature {str(signature)!r} cannot be written: it is a folder"
    assert str(refusal.value) == f"{said}; name another file."


def run(code: str, *arguments: object, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # Without a terminal passphrases are read from stdin.
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [("right\n", ""), ("wrong\n", "password"), ("\n", "Password"), ("", "EOFError")],
    ids=["right", "wrong", "empty", "none"],
)
def test_asks_for_a_passphrase(given: str, said: str, path: Path) -> None:
    private, public = write_keys(path.parent, passphrase=b"right")
    code = "import sys, adnn_optuna; adnn_optuna.sign(*sys.argv[1:])"
    done = run(code, path, private, given=given)
    assert f"Passphrase of {private}: " in done.stderr
    if said:
        refusal = done.stderr.splitlines()[-1]
        assert re.search(rf"private key in PEM \(.*{said}.*\); make one by", refusal)
        assert not [*path.parent.glob("*.sig")]
    else:
        assert done.returncode == 0
        assert adnn.verify(path, key=public).status == "exact"


@pytest.mark.parametrize("call", ["sign({!r}, {!r})", "verify({!r}, key={!r})"])
def test_without_the_package_says_what_to_install(call: str, path: Path) -> None:
    code = "import sys; sys.modules['cryptography'] = None; import adnn_optuna; adnn_optuna."
    done = run(code + call.format(str(path), str(path)))
    assert done.stderr.splitlines()[-1] == (
        "adnn_optuna._checks.NotInstalledError: A signature needs cryptography, which is not "
        "installed: pip install 'adnn_optuna[sign]'."
    )
