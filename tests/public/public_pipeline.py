"""The stories of openstack/ci-cd-pipeline-app-murano: OpenLDAP, Gerrit, Jenkins, Zuul and Nodepool by Puppet, load
balancers. What they run is long: only what makes each of them itself is told.
"""

from __future__ import annotations

from public_stories import Story, does
from public_world import Environment

PIPELINE = "org.openstack.ci_cd_pipeline_murano_app"
KEY = "ssh-rsa AAAAB3Nza jenkins@example.org"
ANSWERS = {
    "Get value from hiera": KEY,
    "Execute hostname -[fs]": lambda execution: {"exitCode": 0, "stdout": execution.server, "stderr": ""},
}


def ldap(form, key="ldap"):
    return form(
        f"{PIPELINE}.OpenLDAP", key, ldapRootEmail="root@example.org", ldapUser="ann", ldapEmail="ann@example.org"
    )


def configuration(form, key="configuration"):
    return form(f"{PIPELINE}.puppet.SystemConfig", key, patchId=1)


def gerrit(form, key="gerrit"):
    return form(f"{PIPELINE}.Gerrit", key, OpenLDAP="ldap", systemConfigRepo="configuration", userSSH=KEY)


def jenkins(form, key="jenkins"):
    return form(
        f"{PIPELINE}.Jenkins",
        key,
        OpenLDAP="ldap",
        systemConfigRepo="configuration",
        Gerrit="gerrit",
        gitUser="ann",
        gitEmail="ann@example.org",
    )


def zuul(form, key="zuul"):
    return form(f"{PIPELINE}.Zuul", key, systemConfigRepo="configuration", Gerrit="gerrit")


def balancer(form, key="app"):
    return form("org.openstack.murano.lbaas.HAProxy", key, user="operator", unitNamingPattern="balancer")


PUPPET = ["InstallPuppet .. [install/install_puppet.sh]", "Install Hiera .. [install/install_hiera.sh]"]
OPENLDAP = [*PUPPET, '"module": "datacentred-ldap"', "Deploy OpenLDAP", '"user": "ann"']
GERRIT = [*PUPPET, "Deploy Project Config", "Deploy Gerrit"]
JENKINS = [*PUPPET, "Deploy Jenkins", '"plugins": "ldap"', "Connect LDAP", "Configure Git", "Configure Gerrit Trigger"]
ZUUL = [*PUPPET, "Deploy Zuul", "service zuul start"]
NODEPOOL = [
    *PUPPET,
    '"nodepool_network_uuid": " .. "nodepool_ssh_pubkey": "AAAAB3Nza" .. "zuul_host": "<{0}zuul public>"',
    "Deploy Nodepool",
]
BALANCER = [
    "apt-get install -y haproxy",
    "Put a file to /etc/haproxy/haproxy.cfg .. operator:P@ssw0rd",
    "haproxy restart",
]
HOSTS = ["hostname -f", "hostname -s", "create_resources('host', hiera('hosts'))"]
AGAIN = {"balancer": BALANCER[1:]}
CREDENTIALS = "http://<balancer public>:8993/v1"


def tells_its_credentials(environment: Environment) -> None:
    outcome = does(environment, lambda: environment.act("app", "getCredentials"))
    uri = outcome.result["result"]["credentials"]["uri"]
    assert environment.cloud.named(uri) == CREDENTIALS


def gives_nodepool_back(environment: Environment) -> None:
    """The action removes what Nodepool made in the project, and its server, before the environment may go."""
    server = "host-1-nodepool"
    assert server in environment.cloud.standing("OS::Nova::Server")
    does(
        environment,
        lambda: environment.act("app", "deleteNodepool"),
        {server: ["Release resources .. [release_resources.sh]"]},
        ["Nodepool is deleted. Now you can safely delete environment."],
    )
    assert server not in environment.cloud.standing("OS::Nova::Server")


STORIES = {
    f"{PIPELINE}.OpenLDAP": Story(
        compose=lambda form: [ldap(form, "app")],
        ran={"openldap": OPENLDAP},
        leaves_out=True,
        says=["OpenLDAP is available at <openldap public>"],
    ),
    f"{PIPELINE}.Gerrit": Story(
        compose=lambda form: [configuration(form), ldap(form), gerrit(form, "app")],
        answers=ANSWERS,
        ran={"openldap": OPENLDAP, "gerrit": GERRIT},
        leaves_out=True,
        says=["Gerrit is available at http://<gerrit public>:80 or http://<gerrit public>:8081"],
        doomed=[f"{PIPELINE}.Gerrit"],
    ),
    f"{PIPELINE}.Jenkins": Story(
        compose=lambda form: [configuration(form), ldap(form), gerrit(form), jenkins(form, "app")],
        answers=ANSWERS,
        ran={"openldap": OPENLDAP, "gerrit": [*GERRIT, '"name": "jenkins"'], "jenkins": JENKINS},
        leaves_out=True,
        says=["Jenkins is available at http://<jenkins public>:8080"],
    ),
    f"{PIPELINE}.Zuul": Story(
        compose=lambda form: [configuration(form), ldap(form), gerrit(form), zuul(form, "app")],
        answers=ANSWERS,
        ran={"gerrit": [*GERRIT, '"name": "zuul"'], "zuul": ZUUL},
        leaves_out=True,
        says=["Zuul is available at http://<zuul public>:80"],
    ),
    f"{PIPELINE}.Nodepool": Story(
        compose=lambda form: [
            configuration(form),
            ldap(form),
            gerrit(form),
            jenkins(form),
            zuul(form),
            form(f"{PIPELINE}.Nodepool", "app", Jenkins="jenkins", Zuul="zuul", systemConfigRepo="configuration"),
        ],
        answers=ANSWERS,
        ran={"jenkins": JENKINS, "zuul": ZUUL, "nodepool": [line.format("") for line in NODEPOOL]},
        leaves_out=True,
        says=["Nodepool is available at host <nodepool public>."],
        doomed=[f"{PIPELINE}.Nodepool"],
    ),
    f"{PIPELINE}.CiCdEnvironment": Story(
        compose=lambda form: [
            configuration(form),
            form(f"{PIPELINE}.ZuulNodepoolHelper", "helper"),
            form(
                f"{PIPELINE}.CiCdEnvironment",
                "app",
                systemConfigRepo="configuration",
                zuulNodepoolHelper="helper",
                userSSH=KEY,
            ),
        ],
        answers=ANSWERS,
        ran={
            "host-1-ldap": OPENLDAP[:-1],
            "host-1-gerrit": GERRIT,
            "host-1-jenkins": JENKINS,
            "host-1-zuul": ZUUL,
            "host-1-nodepool": [line.format("host-1-") for line in NODEPOOL],
        },
        leaves_out=True,
        again={"host-1-zuul": HOSTS, "host-1-ldap": HOSTS},
        then=gives_nodepool_back,
        doomed=[f"{PIPELINE}.Nodepool"],
    ),
    f"{PIPELINE}.PuppetMasterApplication": Story(
        compose=lambda form: [
            form(
                f"{PIPELINE}.PuppetMasterApplication",
                "app",
                nodes="a b",
                puppetfileLink="http://git.example.org/Puppetfile",
                manifest__manifest="node default {}",
            )
        ],
        answers=ANSWERS,
        ran={
            "master": [*PUPPET, "puppet cert sign a", "puppet cert sign b", "[server/install_dependencies.sh]"],
            "puppet_a": [*PUPPET, '"node_role": "a"', "puppet agent --test"],
            "puppet_b": [*PUPPET, '"node_role": "b"', "puppet agent --test"],
        },
        leaves_out=True,
        again={"master": HOSTS, "puppet_a": [*HOSTS, "puppet agent --test"]},
        says=["a can be accessed on <puppet_a public>", "b can be accessed on <puppet_b public>"],
    ),
    "org.openstack.murano.lbaas.HAProxy": Story(
        compose=lambda form: [balancer(form)],
        ran={"balancer": BALANCER},
        says=["HA-proxy is available at http://<balancer>:8080"],
        again=AGAIN,
    ),
    "org.openstack.murano.lbaas.HAProxyListener": Story(
        # It is configured as far as a pool names it, which applications make for themselves.
        compose=lambda form: [
            balancer(form, "balancer"),
            form(
                "org.openstack.murano.lbaas.HAProxyListener",
                "app",
                appConfiguration__port=80,
                protocol="http",
                loadBalancer="balancer",
            ),
        ],
        ran={"balancer": BALANCER},
        again=AGAIN,
        removed=AGAIN,
    ),
    "io.murano.apps.lbaas.HAProxy": Story(
        compose=lambda form: [form("io.murano.apps.lbaas.HAProxy", "app", unitNamingPattern="balancer")],
        ran={"balancer": ["Deploy HAProxy", "[deployLBaaS.sh]", '"key": "impl"', "Start LBaaS"]},
        leaves_out=True,
        says=[f"LBaaS is available at {CREDENTIALS}"],
        then=tells_its_credentials,
    ),
    "io.murano.apps.lbaas.F5BigIPLTM": Story(
        compose=lambda form: [
            form("io.murano.apps.lbaas.F5BigIPLTM", "app", host="192.0.2.200", unitNamingPattern="balancer")
        ],
        ran={"balancer": ["[deployLBaaS.sh]", "[deployF5Driver.sh]", "Start LBaaS"]},
        leaves_out=True,
        says=[f"LBaaS is available at {CREDENTIALS}"],
        then=tells_its_credentials,
    ),
}
