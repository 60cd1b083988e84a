#!/bin/sh
# Boot script of a server whose agent talks to a message broker: installs the agent if the image does not carry it.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

# Images made with diskimage-builder keep the agent in an environment of its own.
image_agent=/opt/stack/venvs/murano-agent/bin/muranoagent
if [ -x "$image_agent" ] && ! command -v muranoagent >/dev/null; then
    ln -s "$image_agent" /usr/local/bin/muranoagent
fi

if ! command -v muranoagent >/dev/null; then
    pip=$(command -v pip3 || command -v pip)
    "$pip" install "%PIP_SOURCE%"
fi

put() {
    mkdir -p "$(dirname "$1")"
    echo "$3" | base64 -d > "$1"
    chmod "$2" "$1"
}

put /etc/init/murano-agent.conf 0644 '%MURANO_AGENT_CONF%'
put /etc/systemd/system/murano-agent.service 0644 '%MURANO_AGENT_SERVICE%'
put /etc/init.d/murano-agent 0755 '%MURANO_AGENT%'
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable murano-agent
fi
service murano-agent stop || true

