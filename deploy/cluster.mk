# Targets for clusters: Google Kubernetes Engine and KinD. Each says what is missing before it creates anything.
.PHONY: preflight build sbom gke-cluster gke-autopilot gke-gpu gke-credentials gke-deploy gke-expose gke-down \
	dev-up dev-down ingest port-forward loadtest down

preflight: ## Say what this machine lacks for clusters (ARGS=build|dev|gke|gpu|deploy for one of them)
	@deploy/scripts/preflight.sh $(or $(ARGS),all)

build: setup-dev ## Build the images REGISTRY/askmesh-*:TAG (PUSH=1 pushes them; ARGS=retriever builds one)
	@deploy/scripts/preflight.sh build
	@deploy/scripts/build.sh $(ARGS)

sbom: setup-dev ## List what is in the built images, as CycloneDX (dist/images/*.cdx.json)
	@deploy/scripts/sbom.sh $(ARGS)

gke-cluster: ## Make a GKE cluster with private nodes, its network and its registry
	@deploy/scripts/gke.sh cluster

gke-autopilot: ## A cluster without node pools to look after; gke-deploy does not work on it (deploy/README.md)
	@deploy/scripts/gke.sh autopilot

gke-gpu: ## Add the pool of L4 nodes, 0 to 3, that come and go with the model
	@deploy/scripts/gke.sh gpu

gke-credentials: ## Let kubectl and the engine talk to the cluster and its registry
	@deploy/scripts/gke.sh credentials

gke-deploy: setup-dev ## Install the control planes and deploy the images of REGISTRY at TAG
	@deploy/scripts/install.sh gke
	@deploy/scripts/deploy.sh gke

gke-expose: ## Give the door its certificate (TLS_CERT, TLS_KEY) and say where it is
	@deploy/scripts/gke.sh expose

gke-down: ## Delete the GKE cluster and its network; the images stay
	@deploy/scripts/gke.sh down

dev-up: setup-dev ## Everything in a KinD cluster on this machine
	@deploy/scripts/dev.sh up

dev-down: ## Delete the KinD cluster
	@deploy/scripts/dev.sh down

ingest: setup-dev ## Store the documents of DOCS_PATH (docs/) in the cluster
	@deploy/scripts/ingest.sh $(ARGS)

port-forward: ## The cluster's page, REST and gRPC on this machine's ports
	@deploy/scripts/port_forward.sh

loadtest: setup-dev ## Open-loop load, 10 -> 30 -> 50 -> 10 -> 0 asks a second, against `make up` or ORCHESTRATOR_URL
	@$(VENV)/python -m bench.load $(ARGS)

down: setup-dev ## Take away what gke-deploy or dev-up deployed (ARGS=gke or kind)
	@deploy/scripts/deploy.sh down $(or $(ARGS),kind)
