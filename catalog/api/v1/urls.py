"""The URL map of version 1: method, path, handler, and the body and type where they are not the usual ones.

`{name}` is one segment of the path, `{name...}` the rest of it. spec/api-v1 §1.3; docs/architecture.md,
"Additions".
"""

from __future__ import annotations

from catalog.api.bodies import Body
from catalog.api.routing import EVENTS, OCTETS, TEXT, Route
from catalog.api.v1 import (
    actions,
    categories,
    checks,
    deployments,
    environments,
    imports,
    models,
    outputs,
    package_dependents,
    package_lifecycle,
    package_shares,
    packages,
    plans,
    receipts,
    reconciliations,
    repositories,
    schemas,
    services,
    sessions,
    statistics,
    templates,
)

E = "/environments/{environment}"
T = "/templates/{template}"
P = "/catalog/packages/{package}"

ROUTES = (
    # environments
    Route("GET", "/environments", environments.list_all),
    Route("POST", "/environments", environments.create, Body.REQUIRED),
    Route("GET", E, environments.show),
    Route("PUT", E, environments.update, Body.REQUIRED),
    Route("DELETE", E, environments.delete),
    Route("GET", f"{E}/lastStatus", environments.last_status),
    Route("GET", f"{E}/topology", environments.show_topology),
    Route("GET", f"{E}/receipt", receipts.show),
    Route("POST", f"{E}/check", checks.check, Body.OPTIONAL),
    Route("POST", f"{E}/plan", plans.make, Body.OPTIONAL),
    # what was made for them
    Route("GET", "/receipts", receipts.list_ended),
    Route("GET", "/reconciliations", reconciliations.list_projects),
    Route("POST", "/reconciliations", reconciliations.create, Body.REQUIRED),
    Route("DELETE", "/leftovers/{stack}", reconciliations.remove),
    # their sessions
    Route("POST", f"{E}/configure", sessions.configure),
    Route("GET", f"{E}/sessions/{{session}}", sessions.show),
    Route("DELETE", f"{E}/sessions/{{session}}", sessions.delete),
    Route("POST", f"{E}/sessions/{{session}}/deploy", sessions.deploy, Body.OPTIONAL),
    # their applications and models
    Route("GET", f"{E}/services{{path...}}", services.show),
    Route("POST", f"{E}/services{{path...}}", services.add, Body.REQUIRED),
    Route("PUT", f"{E}/services{{path...}}", services.put, Body.OPTIONAL),
    Route("DELETE", f"{E}/services{{path...}}", services.delete),
    Route("GET", f"{E}/model/{{path...}}", models.show),
    Route("PATCH", f"{E}/model/", models.patch, Body.MODEL_PATCH),
    # their deployments and actions
    Route("GET", f"{E}/deployments", deployments.list_of_environment),
    Route("GET", "/deployments", deployments.list_of_project),
    Route("GET", f"{E}/deployments/{{deployment}}", deployments.reports),
    Route("GET", f"{E}/deployments/{{deployment}}/events", deployments.events, produces=EVENTS),
    Route("GET", f"{E}/deployments/{{deployment}}/output", outputs.of_deployment),
    Route("POST", f"{E}/deployments/{{deployment}}/cancel", deployments.cancel),
    Route("POST", f"{E}/deployments/{{deployment}}/retry", deployments.retry),
    Route("POST", f"{E}/actions/{{action}}", actions.execute, Body.REQUIRED),
    Route("GET", f"{E}/actions/{{action}}", actions.result),
    Route("POST", "/actions", actions.execute_static, Body.REQUIRED),
    # statistics
    Route("GET", f"{E}/instance-statistics/raw", statistics.raw),
    Route("GET", f"{E}/instance-statistics/raw/{{instance}}", statistics.raw),
    Route("GET", f"{E}/instance-statistics/aggregated", statistics.aggregated),
    Route("GET", "/stats", statistics.requests),
    # environment templates
    Route("GET", "/templates", templates.list_all),
    Route("POST", "/templates", templates.create, Body.REQUIRED),
    Route("GET", T, templates.show),
    Route("PUT", T, templates.update, Body.REQUIRED),
    Route("DELETE", T, templates.delete),
    Route("POST", f"{T}/clone", templates.clone, Body.REQUIRED),
    Route("POST", f"{T}/create-environment", templates.create_environment, Body.REQUIRED),
    Route("GET", f"{T}/services{{path...}}", templates.show_services),
    Route("POST", f"{T}/services", templates.add_service, Body.REQUIRED),
    Route("PUT", f"{T}/services/{{path...}}", templates.put_service, Body.REQUIRED),
    Route("DELETE", f"{T}/services/{{path...}}", templates.delete_service),
    # the catalog
    Route("GET", "/catalog/packages", packages.list_all),
    Route("POST", "/catalog/packages", packages.upload, Body.MULTIPART),
    Route("GET", P, packages.show),
    Route("PATCH", P, packages.change, Body.PACKAGE_PATCH),
    Route("DELETE", P, packages.delete),
    Route("GET", f"{P}/ui", packages.show_ui, produces=TEXT),
    Route("GET", f"{P}/logo", packages.show_logo, produces=OCTETS),
    Route("GET", f"{P}/supplier_logo", packages.show_supplier_logo, produces=OCTETS),
    Route("GET", f"{P}/download", packages.download, produces=OCTETS),
    Route("GET", f"{P}/dependencies", packages.show_dependencies),
    Route("GET", f"{P}/dependents", package_dependents.show),
    Route("PUT", f"{P}/lifecycle", package_lifecycle.change, Body.REQUIRED),
    Route("GET", f"{P}/shares", package_shares.list_all),
    Route("PUT", f"{P}/shares/{{project}}", package_shares.add),
    Route("DELETE", f"{P}/shares/{{project}}", package_shares.remove),
    Route("GET", "/catalog/categories", categories.list_all),
    Route("POST", "/catalog/categories", categories.create, Body.REQUIRED),
    Route("GET", "/catalog/categories/{category}", categories.show),
    Route("DELETE", "/catalog/categories/{category}", categories.delete),
    Route("GET", "/catalog/repositories", repositories.list_all),
    Route("GET", "/catalog/repositories/search", repositories.search),
    Route("POST", "/catalog/imports", imports.create, Body.REQUIRED),
    Route("POST", "/catalog/imports/file", imports.create_from_file, Body.MULTIPART, carries_bundle=True),
    Route("GET", "/schemas/{class}", schemas.show),
    Route("GET", "/schemas/{class}/{methods}", schemas.show),
)
