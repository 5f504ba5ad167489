# Where models are trained and, for comparison, rented: Azure ML with spot GPUs, as in the article, and Custom Vision.

resource "azurerm_log_analytics_workspace" "this" {
  name                = var.name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  retention_in_days   = 30
  daily_quota_gb      = 5
  tags                = local.tags
}

resource "azurerm_application_insights" "this" {
  name                = var.name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  workspace_id        = azurerm_log_analytics_workspace.this.id
  application_type    = "web"
  tags                = local.tags
}

resource "azurerm_machine_learning_workspace" "this" {
  # checkov:skip=CKV_AZURE_144:people submit jobs from their machines; Entra decides who
  # checkov:skip=CKV2_AZURE_49:the same, seen from the workspace
  # checkov:skip=CKV2_AZURE_50:the storage is closed but for two subnets and the admins
  name                          = var.name
  location                      = azurerm_resource_group.this.location
  resource_group_name           = azurerm_resource_group.this.name
  application_insights_id       = azurerm_application_insights.this.id
  container_registry_id         = azurerm_container_registry.this.id
  key_vault_id                  = azurerm_key_vault.this.id
  storage_account_id            = azurerm_storage_account.this.id
  storage_account_access_type   = "Identity"
  public_network_access_enabled = true # people submit jobs from their machines; Entra decides who
  tags                          = local.tags

  identity {
    type = "SystemAssigned"
  }
}

resource "azurerm_machine_learning_compute_cluster" "gpu" {
  name                          = "gpu-cluster" # as the YAML of training/azureml names it
  location                      = azurerm_resource_group.this.location
  machine_learning_workspace_id = azurerm_machine_learning_workspace.this.id
  vm_size                       = var.training_vm_size
  vm_priority                   = "LowPriority"
  subnet_resource_id            = azurerm_subnet.training.id
  local_auth_enabled            = false
  ssh_public_access_enabled     = false
  tags                          = local.tags

  scale_settings {
    min_node_count                       = 0
    max_node_count                       = 1
    scale_down_nodes_after_idle_duration = "PT5M"
  }

  identity {
    type = "SystemAssigned"
  }
}

resource "azurerm_role_assignment" "training_blobs" {
  scope                = azurerm_storage_account.this.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_machine_learning_compute_cluster.gpu.identity[0].principal_id
}

resource "azurerm_role_assignment" "training_pull" {
  scope                = azurerm_container_registry.this.id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_machine_learning_compute_cluster.gpu.identity[0].principal_id
}

resource "azurerm_cognitive_account" "custom_vision" {
  # checkov:skip=CKV_AZURE_134:the service is asked at its public address, with a key
  # checkov:skip=CKV_AZURE_236:its SDK knows keys only
  # checkov:skip=CKV_AZURE_238:it reads nothing of ours
  # checkov:skip=CKV2_AZURE_22:platform-managed keys encrypt it
  for_each = var.custom_vision ? toset(["Training", "Prediction"]) : toset([])

  name                  = "${local.unique}-${lower(each.key)}"
  location              = azurerm_resource_group.this.location
  resource_group_name   = azurerm_resource_group.this.name
  kind                  = "CustomVision.${each.key}"
  sku_name              = "S0"
  custom_subdomain_name = "${local.unique}-${lower(each.key)}"
  tags                  = local.tags
}
