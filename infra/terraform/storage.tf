# Models and data sets, for the service and for Azure ML. There are no shared keys: who reads is an identity.

resource "azurerm_storage_account" "this" {
  # checkov:skip=CKV_AZURE_59:closed by network_rules but for two subnets and the admins
  # checkov:skip=CKV_AZURE_206:three zones; models are also where they were trained
  # checkov:skip=CKV_AZURE_33:it has no queues
  # checkov:skip=CKV2_AZURE_33:service endpoints, as for the vault
  # checkov:skip=CKV2_AZURE_1:platform-managed keys; nothing here is a secret
  name                            = local.unique
  location                        = azurerm_resource_group.this.location
  resource_group_name             = azurerm_resource_group.this.name
  account_tier                    = "Standard"
  account_replication_type        = "ZRS"
  min_tls_version                 = "TLS1_2"
  shared_access_key_enabled       = false
  default_to_oauth_authentication = true
  allow_nested_items_to_be_public = false
  tags                            = local.tags

  blob_properties {
    versioning_enabled = true

    delete_retention_policy {
      days = 30
    }

    container_delete_retention_policy {
      days = 30
    }
  }

  network_rules {
    default_action             = "Deny"
    bypass                     = ["AzureServices"]
    ip_rules                   = [for range in var.admin_ip_ranges : trimsuffix(range, "/32")] # the API takes no /32
    virtual_network_subnet_ids = [azurerm_subnet.nodes.id, azurerm_subnet.training.id]
  }
}

resource "azurerm_storage_container" "models" {
  # checkov:skip=CKV2_AZURE_21:reads are a thousand lines a start, and no secret is read
  name                  = "models"
  storage_account_id    = azurerm_storage_account.this.id
  container_access_type = "private"
}

resource "azurerm_storage_container" "datasets" {
  # checkov:skip=CKV2_AZURE_21:reads are a thousand lines a job, and no secret is read
  name                  = "datasets"
  storage_account_id    = azurerm_storage_account.this.id
  container_access_type = "private"
}

# Whoever applies this uploads the first models.
resource "azurerm_role_assignment" "admin_blobs" {
  scope                = azurerm_storage_account.this.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = data.azurerm_client_config.current.object_id
}
