"""The operator's rules, from what it says that it does."""

from perennial.manifests.resources import JOB, POD, SERVICE
from perennial.plan.kinds import TRAINING_RUN
from perennial.plan.rights import OWN_RIGHTS, RIGHTS, Right
from perennial.schema.rbac import ITSELF, rules


def test_resources_of_a_group_that_allow_the_same_share_a_rule() -> None:
    rights = [Right(POD, ("watch", "list")), Right(SERVICE, ("list",)), Right(SERVICE, ("watch",))]
    assert rules(rights) == [{"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["list", "watch"]}]


def test_subresources_groups_and_single_objects_stand_alone() -> None:
    rights = [
        Right(JOB, ("delete",)),
        Right(TRAINING_RUN.resource, ("patch",)),
        Right(TRAINING_RUN.resource, ("patch",), "status"),
        Right(JOB, ("get",), itself=True),
    ]
    assert rules(rights) == [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["delete"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "resourceNames": [ITSELF], "verbs": ["get"]},
        {"apiGroups": ["perennial.dev"], "resources": ["trainingruns", "trainingruns/status"], "verbs": ["patch"]},
    ]


def test_nothing_of_secrets_and_no_wildcard() -> None:
    granted = rules((*RIGHTS, *OWN_RIGHTS))
    assert len(granted) > 5
    for rule in granted:
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
        assert not {"bind", "escalate", "impersonate", "deletecollection"} & set(rule["verbs"])
        assert not {resource for resource in rule["resources"] if resource.startswith(("secrets", "pods/", "nodes"))}
        assert rule["apiGroups"] != ["rbac.authorization.k8s.io"]
