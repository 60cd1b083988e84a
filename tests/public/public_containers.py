"""The stories of openstack/k8s-docker-suite-app-murano: a container host, a Kubernetes cluster, what runs on them."""

from __future__ import annotations

import json

from public_stories import Story, does
from public_world import Environment

DOCKER = "com.example.docker"
KUBERNETES = "com.mirantis.docker.kubernetes"
HOST = "com.mirantis.docker.DockerStandaloneHost"
ANSWERS = {
    "Add etcd member": lambda execution: f"cluster with {execution.parameters['name']}",
    "Update Service": "10.254.0.7",
    "Run container": "172.17.0.2",
}
START = "Start docker service .. [startDocker.sh]"


def host(form, key="host", **values):
    return form(HOST, key, unitNamingPattern="docker", **values)


def container(form, kind, key="app", place="host", **values):
    return form(f"{DOCKER}.{kind}", key, host=place, **values)


def cluster(form, key="cluster", **values):
    return form(f"{KUBERNETES}.KubernetesCluster", key, **values)


def runs(name: str, image: str, ports: list[int], env: dict[str, str]) -> list[str]:
    """What the container host does for a container: the image, then the container with its ports."""
    mapped = json.dumps({str(port): str(port) for port in ports})
    return [
        f'Pull image .. [runDockerCommand.sh] .. {{"image": "{image}"}}',
        f'Run container .. [runDockerCommand.sh] .. {{"appName": "{name}", "portMap": {mapped}, "volumeMap": {{}}, '
        f'"env": {json.dumps(env)}, "image": "{image}", "commands": [], "privileged": false}}',
    ]


def in_a_container(kind, image, ports, env, says, /, called=None, **values) -> Story:
    """One container on one host: run, replaced when its ports change their audience, removed with its application."""
    name = called or kind
    started = runs(name, image, ports, env)
    removed = [f'Remove container .. [runDockerCommand.sh] .. {{"name": "{name}"}}']

    def hides(environment: Environment) -> None:
        environment.set("app", publish=False)
        quiet = f"{name} has deployed but is not accessible from outside"
        outcome = does(environment, environment.deploy, {"docker": [*removed, *started]})
        assert any(report.endswith(quiet) for report in outcome.reports), outcome.reports

    return Story(
        compose=lambda form: [host(form), container(form, kind, **values)],
        answers=ANSWERS,
        ran={"docker": [START, *started]},
        says=[says],
        then=hides,
        removed={"docker": removed},
    )


PASSWORD = "P@ssw0rd"
AT = "is available at"
WEB = f"{AT} http://<docker public>"
CONTAINERS = {
    "DockerApp": in_a_container(
        "DockerApp",
        "registry/mine",
        [80, 443],
        {"A": "1", "B": "2"},
        "Application mine is available at <docker public>:80, <docker public>:443",
        called="mine",
        image="registry/mine",
        appConfiguration__ports="80,443",
        appConfiguration__env="A=1, B=2",
        appConfiguration__name="mine",
    ),
    "DockerCrate": in_a_container("DockerCrate", "crate", [4300, 4200], {}, f"Application DockerCrate {WEB}:4200"),
    "DockerElasticsearch": in_a_container(
        "DockerElasticsearch",
        "tutum/elasticsearch",
        [9200],
        {"ELASTICSEARCH_USER": "admin", "ELASTICSEARCH_PASS": PASSWORD},
        f"Elasticsearch DockerElasticsearch {WEB}:9200",
    ),
    "DockerGlassFish": in_a_container(
        "DockerGlassFish",
        "tutum/glassfish",
        [4848, 8080, 8181],
        {"GLASSFISH_PASS": PASSWORD},
        f"GlassFish DockerGlassFish {WEB}:4848 (admin) and http://<docker public>:8080 + https://<docker public>:8181 "
        "(apps)",
    ),
    "DockerHTTPd": in_a_container("DockerHTTPd", "httpd", [80], {}, f"HTTPd DockerHTTPd {WEB}:80"),
    "DockerHTTPdSite": in_a_container(
        "DockerHTTPdSite",
        "stanlagun/httpdgitsite",
        [80],
        {"APP_URL": "http://git.example.org/site"},
        f"HTTPd application DockerHTTPdSite {WEB}:80",
        url="http://git.example.org/site",
    ),
    "DockerInfluxDB": in_a_container(
        "DockerInfluxDB",
        "tutum/influxdb",
        [8083, 8086, 8090, 8099],
        {"PRE_CREATE_DB": "measurements"},
        f"InfluxDB DockerInfluxDB {WEB}:8083",
        preCreateDB="measurements",
    ),
    "DockerJBoss": in_a_container(
        "DockerJBoss",
        "tutum/jboss",
        [9990, 8080],
        {"JBOSS_PASS": PASSWORD},
        f"JBoss DockerJBoss {WEB}:9990 (admin) and http://<docker public>:8080 (apps)",
    ),
    "DockerJenkins": in_a_container("DockerJenkins", "jenkins", [8080], {}, f"Jenkins DockerJenkins {WEB}:8080"),
    "DockerMariaDB": in_a_container(
        "DockerMariaDB",
        "tutum/mariadb",
        [3306],
        {"MARIADB_PASS": PASSWORD},
        f"MariaDB DockerMariaDB {AT} <docker public>:3306",
    ),
    "DockerMongoDB": in_a_container(
        "DockerMongoDB", "mongo", [27017], {}, f"MongoDB DockerMongoDB {AT} <docker public>:27017"
    ),
    "DockerMySQL": in_a_container(
        "DockerMySQL",
        "mysql",
        [3306],
        {"MYSQL_ROOT_PASSWORD": PASSWORD},
        f"MySQL DockerMySQL {AT} <docker public>:3306",
    ),
    "DockerNginx": in_a_container("DockerNginx", "nginx", [80], {}, f"Nginx DockerNginx {WEB}:80"),
    "DockerNginxSite": in_a_container(
        "DockerNginxSite",
        "ddovbii/nginx-site",
        [80],
        {"APP_URL": "http://git.example.org/site"},
        f"Nginx application DockerNginxSite {WEB}:80",
        siteRepo="http://git.example.org/site",
    ),
    "DockerPostgreSQL": in_a_container(
        "DockerPostgreSQL",
        "postgres",
        [5432],
        {"POSTGRES_PASSWORD": PASSWORD},
        f"PostgreSQL DockerPostgres {AT} <docker public>:5432",
        called="DockerPostgres",
    ),
    "DockerRedis": in_a_container("DockerRedis", "redis", [6379], {}, f"Redis DockerRedis {AT} <docker public>:6379"),
    "DockerTomcat": in_a_container(
        "DockerTomcat", "tutum/tomcat", [8080], {"TOMCAT_PASS": PASSWORD}, f"Tomcat DockerTomcat {WEB}:8080"
    ),
    # Those of openstack/ci-cd-pipeline-app-murano, for the same host.
    "DockerArtifactory": in_a_container(
        "DockerArtifactory", "mirantis/artifactory", [8080], {}, f"Artifactory DockerArtifactory {WEB}:8080"
    ),
    "DockerELK": in_a_container(
        "DockerELK",
        "mirantis/elk",
        [5601, 9200, 5044, 5000],
        {},
        f"ELK DockerELK {WEB}:5601, http://<docker public>:9200, http://<docker public>:5044, "
        "http://<docker public>:5000",
    ),
    "DockerNexus": in_a_container("DockerNexus", "mirantis/nexus", [8081], {}, f"Nexus DockerNexus {WEB}:8081"),
}

MINION_SCRIPTS = (
    "[minion-kube-setup.sh setupDockerRegistry.sh setupDockerMirror.sh loginToGoogleRegistry.sh restartDocker.sh]"
)


def joins(name: str) -> list[str]:
    """What a node of a cluster runs to become one."""
    return [
        f'Setup etcd Member .. {{"name": "{name}", "ip": "<{name}>", "clusterConfig": "cluster with {name}"}}',
        f'Setup Calico on Node .. {{"ip": "<{name}>", "masterIp": "<kube-1>"}}',
        'Setup HAProxy .. [haproxy-setup.sh] .. {"masterIp": "<kube-1>"}'
        if name.startswith("gateway")
        else f'Setup Kubernetes Node .. {MINION_SCRIPTS} .. {{"name": "{name}", "ip": "<{name}>", "masterIp": '
        '"<kube-1>"',
    ]


def adds(name: str) -> str:
    """What the master runs for a node to come."""
    return f'Add etcd member .. {{"name": "{name}", "ip": "<{name}>"}}'


CALICO = 'Setup Calico on Master .. {"ip": "<kube-1>"}'
CLUSTER = {
    "kube-1": [
        'Setup etcd Master .. [master-etcd-setup.sh] .. {"name": "kube-1", "ip": "<kube-1>"}',
        adds("kube-2"),
        adds("kube-3"),
        adds("gateway-1"),
        CALICO,
        'Setup Kubernetes Master .. [master-kube-setup.sh] .. {"name": "kube-1", "ip": "<kube-1>"}',
        "Deploy KubeDNS .. [deployKubeDns.sh]",
        'Deploy Dashboard .. [deployDashboard.sh] .. {"ip": "<kube-1>"}',
    ],
    "kube-2": joins("kube-2"),
    "kube-3": joins("kube-3"),
    "gateway-1": joins("gateway-1"),
}


def scales_the_cluster(environment: Environment) -> None:
    """A node comes as the first ones did, and goes the other way; so does a gateway. The master's network is set up
    again each time.
    """
    act = environment.act
    does(
        environment, lambda: act("app", "scaleNodesUp"), {"kube-1": [adds("kube-4"), CALICO], "kube-4": joins("kube-4")}
    )
    gone = {"kube-4": ["Remove etcd member"], "kube-1": ['Remove Kubernetes Node .. {"nodeId": "<kube-4>"}', CALICO]}
    does(environment, lambda: act("app", "scaleNodesDown"), gone)
    gateway = {"kube-1": [adds("gateway-2"), CALICO], "gateway-2": joins("gateway-2")}
    does(environment, lambda: act("app", "scaleGatewaysUp"), gateway)
    does(
        environment,
        lambda: act("app", "scaleGatewaysDown"),
        {"gateway-2": ["Remove etcd member"], "kube-1": [CALICO]},
    )
    assert set(environment.cloud.standing("OS::Nova::Server")) == set(CLUSTER)


def controls(pod: str, *containers: str, new: bool) -> str:
    inside = " .. ".join(f'"name": "{name}", "image"' for name in containers)
    return f'Update Replication Controller .. "name": "{pod}" .. {inside} .. "isNew": {json.dumps(new)}'


def serves(pod: str, *ports: int) -> str:
    return f'Update Service .. "targetPort": {" .. : ".join(map(str, ports))} .. "id": "{pod}" .. "isNew": true'


def scales_the_pod(environment: Environment) -> None:
    act = environment.act
    does(environment, lambda: act("app", "scalePodUp"), {"kube-1": ['Scale .. "newSize": 3']}, ["Scaling Pod up"])
    does(environment, lambda: act("app", "scalePodDown"), {"kube-1": ['Scale .. "newSize": 2']})
    pods = 'Delete Pods .. {"labels": {"id": "web"}}'
    does(environment, lambda: act("app", "recreatePod"), {"kube-1": [pods]}, ["Pod web recreated"])
    restarted = ['Restart Docker Containers .. {"podName": "web"}']
    does(environment, lambda: act("app", "restartContainers"), {"kube-2": restarted, "kube-3": restarted})


def fills_the_pod(environment: Environment) -> None:
    """A second container joins the first one: the pod is replaced, and the new port served beside the old one."""
    form = environment.installation.form
    environment.add(container(form, "DockerRedis", "redis", "app", appConfiguration__name="redis"))
    ran = [
        controls("web", "nginx", "redis", new=False),
        'Delete Pods .. {"labels": {"id": "web"}}',
        serves("web", 6379),
    ]
    does(environment, environment.deploy, {"kube-1": ran})
    environment.remove("redis")
    ran = ["Delete Services", controls("web", "nginx", new=False), "Delete Pods"]
    does(environment, environment.deploy, {"kube-1": ran})
    scales_the_pod(environment)
    environment.remove("nginx")
    ran = ["Delete Services", 'Delete Replication Controller .. {"rcId": "web"}', "Delete Pods"]
    does(environment, environment.deploy, {"kube-1": ran})


STORIES = {
    HOST: Story(
        compose=lambda form: [
            host(
                form,
                "app",
                dockerRegistry="registry.example.org",
                dockerMirror="http://mirror.example.org",
                gcloudKey='{"a": "b"}',
            )
        ],
        ran={
            "docker": [
                START,
                'Setup Docker options .. {"dockerRegistry": "registry.example.org", "dockerMirror": '
                '"http://mirror.example.org"}',
                'Login to google registry .. {"gcloudKey": "{\\"a\\": \\"b\\"}"}',
            ]
        },
        says=["Docker Server is up and running"],
    ),
    **{f"{DOCKER}.{name}": story for name, story in CONTAINERS.items()},
    f"{DOCKER}.DockerGrafana": Story(
        compose=lambda form: [
            host(form),
            container(form, "DockerInfluxDB", "influx", preCreateDB="db1"),
            container(form, "DockerGrafana", influxDB="influx", dbName="db1"),
        ],
        answers=ANSWERS,
        ran={
            "docker": [
                START,
                *runs("DockerInfluxDB", "tutum/influxdb", [8083, 8086, 8090, 8099], {"PRE_CREATE_DB": "db1"}),
                *runs(
                    "DockerGrafana",
                    "tutum/grafana",
                    [80],
                    {
                        "HTTP_USER": "admin",
                        "HTTP_PASS": PASSWORD,
                        "INFLUXDB_HOST": "<docker>",
                        "INFLUXDB_PORT": "8086",
                        "INFLUXDB_NAME": "db1",
                        "INFLUXDB_USER": "root",
                        "INFLUXDB_PASS": "root",
                    },
                ),
            ]
        },
        says=[f"Grafana DockerGrafana {WEB}:80"],
        removed={"docker": ['Remove container .. {"name": "DockerGrafana"}']},
        doomed=["com.example.docker.DockerInfluxDB"],
    ),
    f"{DOCKER}.DockerOrion": Story(
        # A misspelt variable: what it asks for its host is null.
        compose=lambda form: [
            host(form),
            container(form, "DockerMongoDB", "mongo"),
            container(form, "DockerOrion", mongoDB="mongo"),
        ],
        answers=ANSWERS,
        ran={"docker": [START, *runs("DockerMongoDB", "mongo", [27017], {})]},
        fails=['Unknown function "#property#host"', "DockerOrion/Classes/DockerOrion.yaml", "$mongoendpoint.host"],
        fails_again=['Unknown function "#property#host"'],
        doomed=["com.example.docker.DockerMongoDB"],
    ),
    f"{KUBERNETES}.KubernetesCluster": Story(
        compose=lambda form: [cluster(form, "app")],
        answers=ANSWERS,
        ran=CLUSTER,
        says=[
            "Kubernetes API is now available at http://<kube-1 public>:8080",
            "Gateway gateway-1 is now available at <gateway-1 public>",
            "Dashboard UI is available at http://<gateway-1 public>:9090",
        ],
        then=scales_the_cluster,
    ),
    f"{KUBERNETES}.KubernetesPod": Story(
        compose=lambda form: [
            cluster(form),
            form(f"{KUBERNETES}.KubernetesPod", "app", name="web", labels="tier=front", kubernetesCluster="cluster"),
            container(form, "DockerNginx", "nginx", "app", appConfiguration__name="nginx"),
        ],
        answers=ANSWERS,
        ran={**CLUSTER, "kube-1": [*CLUSTER["kube-1"], controls("web", "nginx", new=True), serves("web", 80)]},
        says=["Nginx nginx is available at http://<gateway-1 public>:80"],
        then=fills_the_pod,
    ),
    f"{DOCKER}.GuestBook": Story(
        compose=lambda form: [cluster(form), form(f"{DOCKER}.GuestBook", "app", kubernetesCluster="cluster")],
        answers=ANSWERS,
        ran={
            **CLUSTER,
            "kube-1": [
                *CLUSTER["kube-1"],
                controls("redis-master", "redismaster", new=True),
                serves("redis-master", 6379),
                controls("redis-slave", "redisslave", new=True),
                serves("redis-slave", 6379),
                controls("frontend", "guestbook", new=True),
                serves("frontend", 80),
            ],
        },
        says=["GuestBook GuestBook is available at <gateway-1 public>:80"],
        # Each deployment makes a slave of its own; the port of the former one is taken.
        again={"kube-1": ["Delete Services", "Delete Replication Controller", "Delete Pods"]},
        fails_again=["Port 6379 is already used in the Pod redis-slave"],
        # The pods are its own, so they go before the containers that would ask them.
        doomed=[f"{DOCKER}.DockerRedis", f"{DOCKER}.DockerGuestBook"],
    ),
}
