"""The tests of an MQTT 5.0 broker that paho-mqtt brings along in its sources, unchanged, against the broker on a port.

They expect a broker of their own in this process (paho.mqtt.testing): a module stands in for it that knows the port alone.

usage: suite.py PORT TESTS
"""

import os
import sys
import types
import unittest

PORT, TESTS = int(sys.argv[1]), sys.argv[2]
# It subscribes to a topic that the broker of paho.mqtt.testing refuses to everybody.
NOT_OURS = "test_subscribe_failure"


class Server:
    """What the tests ask a server for."""

    socket = types.SimpleNamespace(getsockname=lambda: ("localhost", PORT))

    @staticmethod
    def shutdown():
        pass


brokers = types.ModuleType("mqtt.brokers")
brokers.run = lambda config: None
brokers.listeners = types.SimpleNamespace(TCPListeners=types.SimpleNamespace(server=Server))
sys.modules["mqtt"] = types.ModuleType("mqtt")
sys.modules["mqtt"].brokers = brokers
sys.modules["mqtt.brokers"] = brokers
sys.path.insert(0, os.path.dirname(TESTS))

import test_mqttv5  # noqa: E402

names = [name for name in unittest.TestLoader().getTestCaseNames(test_mqttv5.Test) if name != NOT_OURS]
suite = unittest.TestSuite(map(test_mqttv5.Test, names))
result = unittest.TextTestRunner(buffer=True, verbosity=2).run(suite)
if not result.wasSuccessful() or result.skipped or result.testsRun < 20:
    sys.exit(f"{result.testsRun} tests ran, {len(result.skipped)} were skipped")
