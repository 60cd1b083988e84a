# Second part of the boot script: tells the agent where its broker is.
put /etc/murano/agent.conf 0664 '%AGENT_CONFIG_BASE64%'
put /etc/murano/certs/ca_certs 0644 '%CA_ROOT_CERT_BASE64%'
service murano-agent start
