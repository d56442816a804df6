from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from recstack.loadtest import DriverConfig, drive
from recstack.loadtest.null import empty_query
from recstack.loadtest.null_http import NullServer


@pytest.mark.parametrize("whole", [True, False])
def test_the_null_server_answers_every_query(whole: bool) -> None:
    with NullServer(rows=3) as server, closing(server.client()) as client:
        scheduled = 1_000_000 * np.arange(100)
        run = drive(client, [empty_query(0, 3)] * 100, scheduled, config=DriverConfig(whole=whole))
        assert (run.status == 0).all(), run.errors
        wrong = drive(client, [empty_query(0, 2)], scheduled[:1])
        assert wrong.errors[0].startswith("bad answer: expected FP32 [2, ...]")
