"""The API for a WSGI server of the operator's choice: `uwsgi --module catalog.wsgi:application`, gunicorn, mod_wsgi.

The configuration is the file that CHANDLERY_CONFIG names, /etc/chandlery/chandlery.conf without it. The server has
to run
threads; each event stream and each waiting agent holds one.
"""

from __future__ import annotations

import os

from catalog import config, service

DEFAULT_CONFIGURATION = "/etc/chandlery/chandlery.conf"

application = service.create_app(config.load([os.environ.get("CHANDLERY_CONFIG", DEFAULT_CONFIGURATION)]))
