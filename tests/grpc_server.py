"""Optuna's gRPC proxy in a separate process. Arguments: storage URL, port."""

from __future__ import annotations

import sys

import optuna

from adnn_optuna.engine.storages import open_storage

if __name__ == "__main__":
    url, port = sys.argv[1:]
    optuna.storages.run_grpc_proxy_server(open_storage(url), host="localhost", port=int(port))
