# Copyright: The Shaken Fist Cloud authors
# SPDX-License-Identifier: Apache-2.0
"""Options that every module of this collection shares."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r'''
options:
  api_url:
    description:
      - Address of the API, with the prefix under which a load balancer publishes it, for example
        V(https://cloud.example.net/api).
      - O(api_url) and O(key) are only used together. Without both, the first of these that has them is used as a whole -
        the environment variables E(SHAKENFIST_API_URL), E(SHAKENFIST_NAMESPACE) and E(SHAKENFIST_KEY), then
        C(~/.shakenfist), then C(/etc/sf/shakenfist.json), all of the host that runs the task.
    type: str
  key:
    description: A key of the namespace to authenticate as. See O(api_url).
    type: str
  namespace:
    description:
      - Where the object lives. By default, the namespace to authenticate as.
      - Together with O(api_url) and O(key), and without O(auth_namespace), also the namespace that O(key) belongs to.
    type: str
  auth_namespace:
    description: The namespace that the key belongs to, where that is not O(namespace), such as V(system).
    type: str
  ca_path:
    description: File with the certificates of the authorities that may have issued the certificate of the API.
    type: path
  validate_certs:
    description: Whether the certificate of the API must be valid.
    type: bool
    default: true
  timeout:
    description: How many seconds the API may take to answer one request.
    type: int
    default: 60
attributes:
  check_mode:
    description: Predicts the result, the message of a failure included, and changes nothing.
    support: full
  diff_mode:
    description: Tells what was, or would be, changed. Secrets are left out.
    support: full
notes:
  - Needs nothing but Python and the collection on the host that runs the task.
  - The connection options can be set once for all modules by C(module_defaults) of the group C(shakenfist.cloud.api).
'''
