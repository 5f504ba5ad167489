# The cluster: a small pool for the system, one that serves on CPUs, and one of spot GPUs that is empty while nothing asks for it.

resource "azurerm_container_registry" "this" {
  # checkov:skip=CKV_AZURE_139:pushed to from where people build; Entra decides who, and there is no admin account
  # checkov:skip=CKV_AZURE_164:content trust is retired by the service
  # checkov:skip=CKV_AZURE_165:everything is in one region
  # checkov:skip=CKV_AZURE_166:quarantine is a feature of Premium, for 1.50 USD a day more
  # checkov:skip=CKV_AZURE_167:retention is a feature of Premium; `az acr run --cmd "acr purge ..."` does it
  # checkov:skip=CKV_AZURE_233:zone redundancy is a feature of Premium; nodes keep the image
  # checkov:skip=CKV_AZURE_237:data endpoints are a feature of Premium
  name                = local.unique
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  sku                 = "Standard"
  admin_enabled       = false
  tags                = local.tags
}

resource "azurerm_user_assigned_identity" "cluster" {
  name                = "${var.name}-cluster"
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  tags                = local.tags
}

resource "azurerm_role_assignment" "cluster_network" {
  scope                = azurerm_virtual_network.this.id
  role_definition_name = "Network Contributor"
  principal_id         = azurerm_user_assigned_identity.cluster.principal_id
}

resource "azurerm_kubernetes_cluster" "this" {
  # checkov:skip=CKV_AZURE_6:var.admin_ip_ranges, which has no default and refuses 0.0.0.0/0
  # checkov:skip=CKV_AZURE_115:a private API server needs a way into the network, which not everybody has
  # checkov:skip=CKV_AZURE_117:platform-managed keys encrypt the disks
  # checkov:skip=CKV_AZURE_226:the D2as_v5 has no local disk to put the system on
  # checkov:skip=CKV_AZURE_227:a feature that must be registered for the subscription first
  name                = var.name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  dns_prefix          = local.unique
  sku_tier            = "Standard" # the Free tier promises nothing

  automatic_upgrade_channel = "stable"
  node_os_upgrade_channel   = "NodeImage"
  local_account_disabled    = true
  oidc_issuer_enabled       = true
  workload_identity_enabled = true
  azure_policy_enabled      = true
  tags                      = local.tags

  default_node_pool {
    name                         = "system"
    vm_size                      = "Standard_D2as_v5"
    auto_scaling_enabled         = true
    min_count                    = 2
    max_count                    = 3
    max_pods                     = 50
    only_critical_addons_enabled = true
    vnet_subnet_id               = azurerm_subnet.nodes.id
    zones                        = ["1", "2", "3"]
    temporary_name_for_rotation  = "systemtmp"

    upgrade_settings {
      max_surge = "33%"
    }
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.cluster.id]
  }

  node_provisioning_profile {
    mode = "Manual" # the pools below
  }

  network_profile {
    network_plugin      = "azure"
    network_plugin_mode = "overlay"
    network_data_plane  = "cilium"
    network_policy      = "cilium"
    pod_cidr            = "10.244.0.0/16"
    service_cidr        = "10.245.0.0/16"
    dns_service_ip      = "10.245.0.10"
  }

  api_server_access_profile {
    authorized_ip_ranges = var.admin_ip_ranges
  }

  azure_active_directory_role_based_access_control {
    azure_rbac_enabled     = true
    admin_group_object_ids = [var.admin_group_id]
    tenant_id              = data.azurerm_client_config.current.tenant_id
  }

  key_vault_secrets_provider {
    secret_rotation_enabled = true
  }

  workload_autoscaler_profile {
    keda_enabled = true
  }

  oms_agent {
    log_analytics_workspace_id      = azurerm_log_analytics_workspace.this.id
    msi_auth_for_monitoring_enabled = true
  }

  depends_on = [azurerm_role_assignment.cluster_network]
}

resource "azurerm_kubernetes_cluster_node_pool" "cpu" {
  # checkov:skip=CKV_AZURE_227:a feature that must be registered for the subscription first
  name                        = "cpu"
  kubernetes_cluster_id       = azurerm_kubernetes_cluster.this.id
  vm_size                     = var.cpu_vm_size
  mode                        = "User"
  auto_scaling_enabled        = true
  min_count                   = 2
  max_count                   = var.cpu_max_nodes
  max_pods                    = 50
  vnet_subnet_id              = azurerm_subnet.nodes.id
  zones                       = ["1", "2", "3"]
  temporary_name_for_rotation = "cputmp"
  tags                        = local.tags

  upgrade_settings {
    max_surge = "33%"
  }
}

resource "azurerm_kubernetes_cluster_node_pool" "gpu" {
  # checkov:skip=CKV_AZURE_227:a feature that must be registered for the subscription first
  name                        = "gpu"
  kubernetes_cluster_id       = azurerm_kubernetes_cluster.this.id
  vm_size                     = var.gpu_vm_size
  mode                        = "User"
  priority                    = "Spot"
  eviction_policy             = "Delete"
  spot_max_price              = -1 # up to the price of a node that is not spot
  auto_scaling_enabled        = true
  min_count                   = 0
  max_count                   = var.gpu_max_nodes
  max_pods                    = 50
  vnet_subnet_id              = azurerm_subnet.nodes.id
  temporary_name_for_rotation = "gputmp"
  node_labels                 = { "kubernetes.azure.com/scalesetpriority" = "spot" }
  node_taints                 = ["sku=gpu:NoSchedule", "kubernetes.azure.com/scalesetpriority=spot:NoSchedule"]
  tags                        = local.tags
}

resource "azurerm_role_assignment" "cluster_pull" {
  scope                = azurerm_container_registry.this.id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_kubernetes_cluster.this.kubelet_identity[0].object_id
}
