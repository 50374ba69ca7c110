//! One client's MQTT protocol state machine.
