#!/usr/bin/env bash
# Applies every overlay to a real API server: etcd and kube-apiserver on this machine, without kubelet, scheduler or
# controllers. All that they say against an object, and each warning, is a failure. Everything is gone afterwards.
#
#   deploy/kubernetes/try.sh FOLDER       FOLDER has the definitions (CRDs) of KEDA, Strimzi and Prometheus Operator:
#                                         ScaledObject, TriggerAuthentication, KafkaTopic, KafkaUser, PodMonitor. They
#                                         are in these projects' repositories: KEDA's config/crd/bases, Strimzi's
#                                         packaging/install/cluster-operator, example/prometheus-operator-crd.
# Needs etcd, kube-apiserver, kubectl and openssl on the PATH (or ETCD=, KUBE_APISERVER=), and `make install`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
definitions=${1:?"put a folder with the definitions there, as the head of this file says"}
work=$(mktemp -d)
started=()
end() {
	for process in "${started[@]}"; do kill "$process" && wait "$process" || true; done 2>/dev/null
	rm -rf "$work"
}
trap end EXIT

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
client=$(port) peer=$(port) api=$(port)
"${ETCD:-etcd}" --data-dir "$work/etcd" --listen-client-urls "http://127.0.0.1:$client" \
	--advertise-client-urls "http://127.0.0.1:$client" --listen-peer-urls "http://127.0.0.1:$peer" \
	--initial-advertise-peer-urls "http://127.0.0.1:$peer" --initial-cluster "default=http://127.0.0.1:$peer" \
	>"$work/etcd.log" 2>&1 &
started+=($!)
openssl genrsa -out "$work/accounts.key" 2048 2>/dev/null
echo "try,admin,admin,system:masters" >"$work/tokens.csv"
"${KUBE_APISERVER:-kube-apiserver}" --etcd-servers "http://127.0.0.1:$client" --secure-port "$api" \
	--bind-address 127.0.0.1 --cert-dir "$work" --token-auth-file "$work/tokens.csv" --authorization-mode RBAC \
	--service-account-issuer https://try.example --service-account-key-file "$work/accounts.key" \
	--service-account-signing-key-file "$work/accounts.key" --service-cluster-ip-range 10.0.0.0/24 \
	>"$work/apiserver.log" 2>&1 &
started+=($!)
cat >"$work/config" <<END
{"apiVersion": "v1", "kind": "Config", "current-context": "try",
 "clusters": [{"name": "try", "cluster": {"server": "https://127.0.0.1:$api", "insecure-skip-tls-verify": true}}],
 "users": [{"name": "try", "user": {"token": "try"}}],
 "contexts": [{"name": "try", "context": {"cluster": "try", "user": "try"}}]}
END
export KUBECONFIG=$work/config
for _ in {1..300}; do
	kubectl get --raw /readyz >/dev/null 2>&1 && break
	kill -0 "${started[1]}" || { tail -5 "$work/apiserver.log"; exit 1; }
	sleep 0.2
done
kubectl get --raw /version | grep gitVersion

# Runs a command; a warning fails as an error does.
strictly() {
	"$@" 2>"$work/said" || { cat "$work/said"; return 1; }
	! grep . "$work/said"
}

strictly kubectl apply --server-side -f "$definitions"
strictly kubectl wait --for condition=Established crd --all >/dev/null

# The plain pods that a workload's controller would create, in the namespace that refuses those that are not restricted.
pods() {
	kubectl -n "$1" get statefulset,deployment,job -o json | .venv/bin/python -c '
import json, sys
for one in json.load(sys.stdin)["items"]:
    template = one["spec"]["template"]
    meta = {"name": one["metadata"]["name"], "namespace": one["metadata"]["namespace"], "labels": template["metadata"]["labels"]}
    print("---"); print(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}))'
}

echo "== the first commands of README.md, as they stand"
mkdir "$work/new" && ln -s "$PWD/deploy" "$work/new/deploy"
openssl rand -hex 32 >"$work/new/identifier.key" && echo '{}' >"$work/new/kafka.json"
awk '/^```/ { inside++; next } inside == 1' deploy/kubernetes/README.md >"$work/new/commands.sh"
(cd "$work/new" && strictly bash -e commands.sh)

for overlay in dev production strimzi keda; do
	namespace=order-facts
	[ "$overlay" != dev ] || namespace=order-facts-dev
	echo "== $overlay"
	# The number becomes the command's own, so that an overlay without one leaves it: README.md, "KEDA".
	[ "$overlay" != keda ] || strictly kubectl -n order-facts scale statefulset order-facts --replicas 6
	strictly kubectl apply --server-side -k "deploy/kubernetes/overlays/$overlay"
	strictly kubectl diff --server-side -k "deploy/kubernetes/overlays/$overlay" # exits with 1 if a second apply changes anything
	kubectl -n "$namespace" get statefulset order-facts -o jsonpath='{.spec.replicas} replicas{"\n"}'
	pods "$namespace" >"$work/pods.yaml"
	strictly kubectl create --dry-run=server -f "$work/pods.yaml"
done

echo "== an update while the Job is there"
cp -r deploy/kubernetes "$work/update"
sed -i.before 's/newTag: .*/newTag: 99.0.0/' "$work/update/overlays/production/kustomization.yaml"
if kubectl apply --server-side -k "$work/update/overlays/keda" >/dev/null 2>"$work/said"; then exit 1; fi
[ "$(wc -l <"$work/said")" = 1 ]
grep -q '^The Job "order-facts-topics" is invalid: .*field is immutable$' "$work/said"
kubectl -n order-facts get statefulset,deployment \
	-o jsonpath='{range .items[*]}{.spec.template.spec.containers[0].image}{"\n"}{end}' | sort | uniq -c

echo "== a pod that is not restricted is refused there"
if kubectl -n order-facts run plain --image=any --overrides '{"spec": {"serviceAccountName": "order-facts"}}' \
	2>"$work/said"; then exit 1; fi
grep -o "violates PodSecurity \"restricted:latest\"" "$work/said"
