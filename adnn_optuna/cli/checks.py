"""The commands that check what others made: models, and contracts and who stands for them."""

from pathlib import Path
from typing import Annotated

import typer

import adnn_optuna as adnn
from adnn_optuna._checks import WrongValueError
from adnn_optuna.cli import output as out


def audit(
    file: Annotated[Path | None, "A model as model.save of Keras wrote it."] = None,
    *,
    initializers: Annotated[bool, "Show the initializers of the installed Keras instead."] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Show JSON instead of a table.")] = False,
) -> None:
    """Show what is random in a Keras model: initial values, layers, and their seeds.

    Nothing in the file is executed: lambda layers and classes of others are refused.

    \b
    Examples:
      adnn audit model.keras --json
      adnn audit --initializers
    """
    from adnn_optuna.accountability.audit import audit_file

    if (file is None) != initializers:
        raise WrongValueError("Give either the file of a model or --initializers.")
    out.load_libraries()
    if file is None:
        table = adnn.initializers_table()
        out.show(
            table.to_json(orient="records", indent=1) if as_json else table.to_string(index=False)
        )
    else:
        found = audit_file(file)
        out.show(found.to_json() if as_json else found)


def verify(
    file: Annotated[Path, "The contract, as adnn search wrote it."],
    *,
    data_dir: Annotated[
        Path | None, "As in adnn search; for data from an .npz file, the contract's folder."
    ] = None,
    certify: Annotated[
        bool, "Repeat the contract's certificate, too: with fresh random numbers."
    ] = False,
    key: Annotated[
        Path | None, "The public key (Ed25519, PEM) of who must have signed it by adnn sign."
    ] = None,
) -> None:
    """Check a contract: train its baseline and its winner again, and compare.

    Nothing in the file is executed, and nothing outside its folder is read.

    \b
    Verdicts and exit codes:
      exact             0  the same bits, in the same environment
      within_tolerance  0  in another environment (versions, processor, threads),
                           within what eight trainings here differ by
      breached          1  something is not reproduced, or the file was changed, or
                           it is not signed by the key
      cannot_check      2  file, data or model is missing, unreadable or another one,
                           or this training forgets its gain here

    \b
    Examples:
      adnn verify digits.contract.json
      adnn verify fashion.contract.json --data-dir ~/data --key public.pem
    """
    out.load_libraries()
    verdict = adnn.verify(file, data_dir, certify=certify, key=key)
    out.show(verdict)
    codes = {"breached": out.BREACHED, "cannot_check": out.WRONG_INPUT}
    raise typer.Exit(codes.get(verdict.status, 0))


def sign(
    file: Annotated[Path, "The contract, as adnn search wrote it."],
    *,
    key: Annotated[Path, "Your private key (Ed25519, PEM); a passphrase is asked for."],
) -> None:
    """Sign a contract: who has your public key can tell that you stand for it.

    The signature is in a file beside it, FILE.sig, and holds until the contract
    is changed.

    \b
    Examples:
      openssl genpkey -algorithm ed25519 -out key.pem
      openssl pkey -in key.pem -pubout -out public.pem
      adnn sign digits.contract.json --key key.pem
      adnn verify digits.contract.json --key public.pem
    """
    out.show(f"The signature is in {adnn.sign(file, key)}.")
