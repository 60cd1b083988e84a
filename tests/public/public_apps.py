"""The stories of openstack/murano-apps: what each package is composed of, runs, says, offers, leaves behind."""

from __future__ import annotations

from public_cloud import Execution
from public_stories import Story, does
from public_world import Environment

PASSWORD = "P@ssw0rd"  # what the forms are filled in with
APACHE = "com.example.apache.ApacheHttpServer"
MYSQL = "com.example.databases.MySql"
ZABBIX = "com.example.ZabbixServer"


def mysql(form, key="mysql"):
    return form(MYSQL, key, database="shop", username="clerk", unitNamingPattern=key)


def apache(form, key="apache", **values):
    return form(APACHE, key, unitNamingPattern=key, enablePHP=True, **values)


def zabbix(form, key="zabbix"):
    return form(ZABBIX, key, unitNamingPattern=key)


INSTALL_APACHE = "apt-get -y install apache2 .. --dport $i -j ACCEPT"
INSTALL_PHP = "sudo apt-get -y install php5"
INSTALL_MYSQL = "apt-get -y -q install mysql-server .. --dport 3306"
INSTALL_ZABBIX = "CREATE DATABASE zabbix .. CREATE USER 'zabbix'@'localhost' IDENTIFIED BY 'P@ssw0rd'"
INSTALL_TOMCAT = "Deploy Tomcat .. install tomcat7 .. --dport 8080"


def of_database(name: str, user: str) -> list[str]:
    return [
        f"CREATE DATABASE \\`{name}\\`",
        f"CREATE USER '{user}'@'localhost' IDENTIFIED BY '{PASSWORD}' .. '{user}'@'%'",
        f"GRANT ALL PRIVILEGES ON {name}.* TO '{user}'@'localhost'",
    ]


def scales_apache(environment: Environment) -> None:
    """One server more gets what the first ones got; one less takes nothing with it but itself."""
    more = {"node-3": [INSTALL_APACHE, INSTALL_PHP]}
    does(environment, lambda: environment.act("app", "scaleOut"), more, ["Installing app on server node-3"])
    assert set(environment.cloud.standing("OS::Nova::Server")) == {"node-1", "node-2", "node-3"}
    does(environment, lambda: environment.act("app", "scaleIn"))
    assert set(environment.cloud.standing("OS::Nova::Server")) == {"node-1", "node-2"}
    assert list(environment.counted().values()).count(True) == 2


def bursts_apache(environment: Environment) -> None:
    """The server that region one has no place for is in region two, and so is the next one."""
    regions = {name: push.region for push in environment.cloud.pushes for name in push.came}
    assert [regions[f"node-{number}"] for number in (1, 2, 3)] == ["RegionOne", "RegionTwo", "RegionTwo"]
    does(environment, lambda: environment.act("app", "scaleOut"), {"node-4": [INSTALL_APACHE]})
    regions = {name: push.region for push in environment.cloud.pushes for name in push.came}
    assert regions["node-4"] == "RegionTwo"
    does(environment, lambda: environment.act("app", "scaleIn"))
    assert set(environment.cloud.standing("OS::Nova::Server")) == {"node-1", "node-2", "node-3"}


def scales_percona(environment: Environment) -> None:
    """A new node joins with everybody's address in its configuration; the cluster is not bootstrapped again."""
    joined = ["Put a file to /etc/mysql/my.cnf .. <node-1>,<node-2>,<node-3>,<node-4> .. <node-{0}>", "/mysql start"]
    root = ["GRANT ALL PRIVILEGES ON *.* to root@'%' IDENTIFIED BY 'P@ssw0rd'"]
    ran = {f"node-{number}": [line.format(number) for line in joined] for number in (1, 2, 3, 4)}
    ran["node-4"].insert(0, "percona-xtradb-cluster")
    ran["node-1"] += root
    does(environment, lambda: environment.act("app", "scaleOut"), ran)
    does(
        environment,
        lambda: environment.act("app", "scaleIn"),
        {
            f"node-{number}": ["my.cnf .. <node-1>,<node-2>,<node-3>", "/mysql start", *(root if number == 1 else [])]
            for number in (1, 2, 3)
        },
    )
    assert set(environment.cloud.standing("OS::Nova::Server")) == {"node-1", "node-2", "node-3"}


def fills_and_empties_sugar(environment: Environment) -> None:
    reset = '[reset_w_data.sh reset_wo_data.sh] .. {"withData": '
    does(environment, lambda: environment.act("app", "clear"), {"apache": [f"{reset}false"]})
    does(environment, lambda: environment.act("app", "populateDemoData"), {"apache": [f"{reset}true"]})


def can_not_scale_clearwater(environment: Environment) -> None:
    """Every action ends where the deployment did; a server that was added can not be taken back either."""
    for part in ("Sprout", "Bono", "Homestead", "Ralf"):
        outcome = environment.act("app", f"scaleOut{part}")
        assert f"{part} could not be installed on {part}-1, {part}-2" in outcome.result["result"]["message"]
        outcome = environment.act("app", f"scaleIn{part}")
        assert 'Unknown method "getUninstallScriptName"' in outcome.result["result"]["message"]


def system(execution: Execution) -> str:
    return "Ubuntu 14.04.5 LTS"


STORIES = {
    f"{APACHE}": Story(
        compose=lambda form: [apache(form, "app", assignFloatingIP=True)],
        ran={"app": [INSTALL_APACHE, INSTALL_PHP]},
        says=["Apache is available at http://<app public>"],
    ),
    f"{APACHE}/1": Story(
        compose=lambda form: [form(f"{APACHE}/1", "app", numNodes=2, enablePHP=True)],
        ran={"node-1": [INSTALL_APACHE, INSTALL_PHP], "node-2": [INSTALL_APACHE, INSTALL_PHP]},
        says=["Apache is available at http://<node-1>, http://<node-2>"],
        then=scales_apache,
    ),
    "com.mirantis.network.dns.Bind": Story(
        compose=lambda form: [form("com.mirantis.network.dns.Bind", "app", zoneName="example.net", dnsSecKey="a2V5")],
        ran={"BIND1": ['key example.net. { .. secret "a2V5"; .. ns $(ip2rr <BIND1 public>)']},
        says=["BIND configured"],
    ),
    "com.example.apache.BurstingApacheHttpServer": Story(
        compose=lambda form: [
            form(
                "com.example.apache.BurstingApacheHttpServer",
                "app",
                numNodes=3,
                threshhold=2,
                instanceConfiguration1__osImage="image-one",
                instanceConfiguration2__osImage="image-two",
            )
        ],
        ran={"node-1": [INSTALL_APACHE], "node-2": [INSTALL_APACHE], "node-3": [INSTALL_APACHE]},
        says=["Apache is available at http://<node-1>, http://<node-2>, http://<node-3>"],
        then=bursts_apache,
    ),
    "com.example.apache.Cassandra": Story(
        compose=lambda form: [form("com.example.apache.Cassandra", "app", countOfRegularNodes=2)],
        ran={
            f"cassandra-{number}": [
                "apt-get -y install cassandra",
                # The script expects the seeds in a variable that nobody sets.
                f"cluster_name: \\'CassandraCluster\\' .. $SEED_NODES .. listen_address: <cassandra-{number}>",
                f"sleep {pause}; sudo service cassandra restart",
            ]
            for number, pause in ((1, 1), (2, 120), (3, 120))
        },
        says=["Deployed 1 seed nodes and 2 usual nodes", "Cassandra cluster is deployed"],
    ),
    "com.example.conflang.chef.GitChef": Story(
        compose=lambda form: [form("com.example.conflang.chef.GitChef", "app", unitNamingPattern="chef")],
        ran={"chef": ["Deploy Git Chef .. [git::default]"]},
        says=["Git Chef is installed at <chef public>"],
    ),
    "com.example.conflang.fiware.OrionChef": Story(
        compose=lambda form: [form("com.example.conflang.fiware.OrionChef", "app", unitNamingPattern="orion")],
        ran={"orion": ['Deploy Orion Chef .. [orion::0.19.0_install] .. {"port": "1026"}']},
        says=["Orion is installed at <orion public> on 1026 port"],
    ),
    "com.mirantis.clearwater.Clearwater": Story(
        # It looks for the floating address of its own server among those of the name server.
        compose=lambda form: [
            form("com.mirantis.network.dns.Bind", "dns", zoneName="example.net", dnsSecKey="a2V5"),
            form("com.mirantis.clearwater.Clearwater", "app", dnsServer="dns"),
        ],
        ran={"BIND1": ["key example.net."]},
        fails=[
            "io.murano.applications.TooManyInstallationErrors: Ellis could not be installed on Ellis-1",
            "Clearwater/Classes/Clearwater.yaml",
            "$this.components.pselect($.deploy())",
        ],
        says=["Installing Ellis on server Ellis-1 failed, StopIteration ()"],
        fails_again=["Ellis could not be installed on Ellis-1"],
        then=can_not_scale_clearwater,
    ),
    "com.example.paas.CloudFoundry": Story(
        compose=lambda form: [form("com.example.paas.CloudFoundry", "app", unitNamingPattern="cf")],
        answers={"Check OS Distribution": system, "Start Cloud ?Foundry": "Log in with cf login"},
        ran={
            "cf": [
                "Check OS Distribution .. [checkOS.sh]",
                "[installRuby.sh]",
                '[cloneRepos.sh] .. {"appName": "$appName"}',
                "[installEnvironment.sh]",
                "[installCFRelease.sh]",
                "[installCFcli.sh]",
                "[startCloudFoundry.sh]",
            ]
        },
        says=["CloudFoundry is started", "Log in with cf login"],
    ),
    "com.example.paas.CloudFoundryDiego": Story(
        compose=lambda form: [form("com.example.paas.CloudFoundryDiego", "app", unitNamingPattern="diego")],
        ran={
            "diego": [
                'Install Bosh .. [installBosh.sh] .. {"appName": "$appName"}',
                "Upload Releases .. [uploadReleases.sh]",
                "Deploy CF Release .. [deployCFRelease.sh]",
                "Deploy Diego Release .. [deployDiegoRelease.sh]",
                "Install CLI .. [installCLI.sh]",
            ]
        },
        says=["CloudFoundry Diego is ready"],
    ),
    "com.mirantis.GoCDApp": Story(
        # Its form gives all agent nodes one name, so that there can be one only.
        compose=lambda form: [form("com.mirantis.GoCDApp", "app", serverAssignFloatingIP=True)],
        ran={
            "go.cd-server": [
                'Deploy GoCD software .. [runGoCDDeploy.sh] .. {"role": "server"}',
                'Deploy GoCD software .. [runGoCDConfigure.sh] .. {"role": "server", "server": "<go.cd-server>"}',
            ],
            "go.cd-agent": [
                '[runGoCDDeploy.sh] .. {"role": "agent"}',
                '[runGoCDConfigure.sh] .. {"role": "agent", "server": "<go.cd-server>"}',
            ],
        },
        says=["Running at http://<go.cd-server public>:8153/"],
    ),
    "com.example.Guacamole": Story(
        compose=lambda form: [
            form("com.example.apache.Tomcat", "tomcat", unitNamingPattern="tomcat"),
            form("com.example.Guacamole", "app", server="tomcat", username="guest"),
        ],
        ran={"tomcat": [INSTALL_TOMCAT, f'authorize username="guest" password="$(echo -n {PASSWORD}']},
        says=["Guacamole application is available at http://<tomcat>:8080/guacamole"],
    ),
    "com.example.HDPSandbox": Story(
        compose=lambda form: [form("com.example.HDPSandbox", "app", unitNamingPattern="hdp")],
        says=["HDP Sandbox is installed and running at http://<hdp public>:8888"],
    ),
    "com.example.databases.MongoDB": Story(
        compose=lambda form: [
            form("com.example.databases.MongoDB", "app", database="d", username="u", unitNamingPattern="mongo")
        ],
        ran={
            "mongo": [
                "apt-get -y install mongodb",
                "service mongodb restart",
                "--dport 27017 .. --dport 28017",
                "use d .. db.createCollection",
                f'use d .. db.addUser("u","{PASSWORD}")',
                "rm -rf /tmp/murano",
            ]
        },
        says=["MongoDB is available at <mongo>:27017."],
    ),
    MYSQL: Story(
        compose=lambda form: [mysql(form, "app")],
        ran={"app": [INSTALL_MYSQL, *of_database("shop", "clerk")]},
        says=["Database shop created.", "User clerk created.", "MySQL is available at <app>"],
    ),
    "com.mirantis.applications.percona.XtraDBCluster": Story(
        compose=lambda form: [form("com.mirantis.applications.percona.XtraDBCluster", "app")],
        ran={
            "node-1": [
                "percona-xtradb-cluster",
                "Put a file to /etc/mysql/my.cnf .. gcomm://<node-1>,<node-2>,<node-3> .. <node-1>",
                "/etc/init.d/mysql bootstrap-pxc",
                "CREATE USER 'sstuser'@'localhost' IDENTIFIED BY",
                "my.cnf .. <node-1>",
                "/etc/init.d/mysql start",
                f"GRANT ALL PRIVILEGES ON *.* to root@'%' IDENTIFIED BY '{PASSWORD}'",
            ],
            "node-2": ["percona-xtradb-cluster", "my.cnf .. <node-2>", "/etc/init.d/mysql start"],
            "node-3": ["percona-xtradb-cluster", "my.cnf .. <node-3>", "/etc/init.d/mysql start"],
        },
        says=["Successfully bootstrapped the Cluster", "MySQL is available at <node-1>, <node-2>, <node-3>"],
        # Its configuration has no key of its own, so every deployment configures it.
        again={
            "node-1": ["my.cnf", "/mysql start", "GRANT ALL PRIVILEGES"],
            "node-2": ["my.cnf", "/mysql start"],
            "node-3": ["my.cnf", "/mysql start"],
        },
        then=scales_percona,
    ),
    "com.example.pivotal.OpsManager": Story(
        compose=lambda form: [
            form(
                "com.example.pivotal.OpsManager",
                "app",
                unitNamingPattern="ops",
                opsManagerConfiguration__username="operator",
                auth_url="http://keystone.example.org",
                osTenant="t",
                osUsername="o",
                sshKey="ssh-rsa x",
            )
        ],
        says=["OpsManager is available at https://<ops public>"],
    ),
    "org.openstack.apps.plone.PloneServer": Story(
        compose=lambda form: [form("org.openstack.apps.plone.PloneServer", "app", unitNamingPattern="plone")],
        ran={
            "plone": [
                "Deploy Plone .. [runPloneDeploy.sh] .. "
                '{"pathname": "/opt/plone/", "password": "admin", "port": "8080"}'
            ]
        },
        says=["Plone Server is available at http://<plone>:8080"],
    ),
    "com.example.databases.PostgreSql": Story(
        compose=lambda form: [
            form("com.example.databases.PostgreSql", "app", database="d", username="u", unitNamingPattern="pg")
        ],
        ran={
            "pg": [
                "install postgresql .. --dport 5432",
                'CREATE DATABASE \\"d\\"',
                f"CREATE USER \\\"u\\\" WITH PASSWORD '{PASSWORD}'",
                'GRANT ALL PRIVILEGES ON DATABASE \\"d\\" to \\"u\\" .. host d u all md5',
            ]
        },
        says=["PostgreSQL is available at <pg>"],
    ),
    "org.openstack.Rally": Story(
        compose=lambda form: [form("org.openstack.Rally", "app", unitNamingPattern="rally")],
        ran={"rally": ["git clone https:// .. /rally rally .. git checkout master .. ./install_rally.sh"]},
        says=["Rally has been installed."],
    ),
    "org.openstack.RefStackClient": Story(
        compose=lambda form: [form("org.openstack.RefStackClient", "app", unitNamingPattern="refstack")],
        ran={"refstack": ["Install RefTack client .. useradd -g stacker"]},
        says=['Setup completed. To get access - "ssh stacker@<refstack public>" '],
    ),
    "com.example.SugarCRM": Story(
        compose=lambda form: [
            mysql(form),
            apache(form, assignFloatingIP=True),
            form("com.example.SugarCRM", "app", server="apache", database="mysql", demoData=True),
        ],
        ran={
            "apache": [
                INSTALL_APACHE,
                INSTALL_PHP,
                'Deploy Sugar .. [runSugarDeploy.sh] .. "dbHost": "<mysql>", "dbName": "sugar_db", "adminName": '
                '"admin" .. "host": "<apache public>", "demoData": "yes"',
            ],
            "mysql": [INSTALL_MYSQL, *of_database("shop", "clerk"), *of_database("sugar_db", "admin")],
        },
        says=["SugarCRM is running at http://<apache public>/Sugar"],
        then=fills_and_empties_sugar,
    ),
    "com.example.apache.Tomcat": Story(
        compose=lambda form: [form("com.example.apache.Tomcat", "app", unitNamingPattern="tomcat")],
        ran={"tomcat": [INSTALL_TOMCAT]},
        says=["Tomcat is available at http://<tomcat>:8080"],
    ),
    "com.example.activeDirectory.ActiveDirectory": Story(
        # `super` as a method is of formats before 1.2; the manifest says 1.3.
        compose=lambda form: [
            form(
                "com.example.activeDirectory.ActiveDirectory",
                "app",
                appConfiguration__name="corp.example.org",
                dcInstances=2,
            )
        ],
        protocol="amqp",
        says=["Creating VM for Primary Controller for corp.example.org domain"],
        fails=[
            'Unknown method "super" for receiver <com.example.activeDirectory.PrimaryController/0.0.0',
            "ActiveDirectory/Classes/PrimaryController.yaml",
            "$.super($.deploy())",
        ],
        fails_again=['Unknown method "super"'],
    ),
    "com.example.WordPress": Story(
        compose=lambda form: [
            mysql(form),
            apache(form),
            zabbix(form),
            form("com.example.ZabbixAgent", "agent", server="zabbix"),
            form("com.example.WordPress", "app", server="apache", database="mysql", appConfiguration__zabbix="agent"),
        ],
        ran={
            "apache": [
                INSTALL_APACHE,
                INSTALL_PHP,
                "wordpress",
                "'DB_NAME', 'wordpress' .. 'DB_USER', 'wp_user' .. 'DB_PASSWORD', 'P@ssw0rd' .. 'DB_HOST', '<mysql>'",
            ],
            "mysql": [INSTALL_MYSQL, *of_database("shop", "clerk"), *of_database("wordpress", "wp_user")],
            "zabbix": [INSTALL_ZABBIX],
        },
        leaves_out=True,
        says=["Running at http://<zabbix public>/zabbix"],
    ),
    "com.example.ZabbixAgent": Story(
        compose=lambda form: [zabbix(form), form("com.example.ZabbixAgent", "app", server="zabbix")],
        ran={"zabbix": [INSTALL_ZABBIX]},
        says=["Zabbix Agent is ready to be configured."],
    ),
    ZABBIX: Story(
        compose=lambda form: [zabbix(form, "app")],
        ran={"app": [INSTALL_ZABBIX]},
        says=["Running at http://<app public>/zabbix"],
    ),
}
