# SPDX-License-Identifier: LGPL-2.1-or-later
from safestart.gunicorn import post_worker_init, pre_fork, worker_exit  # noqa: F401

workers = 2
control_socket_disable = True  # of newer versions: no file is left in the folder that it is started in
