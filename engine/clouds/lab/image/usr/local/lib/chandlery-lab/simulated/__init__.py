"""Stand-ins for programs that a lab server cannot download: all of this is simulated by the Chandlery lab."""

NOTICE = "simulated by the Chandlery lab"
