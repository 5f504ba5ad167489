# The vault, and the secrets that nobody types: made at the first apply, written into the vault and the database, kept in no state.

resource "azurerm_key_vault" "this" {
  # checkov:skip=CKV2_AZURE_32:service endpoints and network_acls; a private endpoint is 7 USD a month more
  name                       = local.unique
  location                   = azurerm_resource_group.this.location
  resource_group_name        = azurerm_resource_group.this.name
  tenant_id                  = data.azurerm_client_config.current.tenant_id
  sku_name                   = "standard"
  rbac_authorization_enabled = true
  purge_protection_enabled   = true
  soft_delete_retention_days = 30
  tags                       = local.tags

  network_acls {
    default_action             = "Deny"
    bypass                     = "AzureServices"
    ip_rules                   = var.admin_ip_ranges
    virtual_network_subnet_ids = [azurerm_subnet.nodes.id, azurerm_subnet.training.id]
  }
}

resource "azurerm_role_assignment" "admin_secrets" {
  scope                = azurerm_key_vault.this.id
  role_definition_name = "Key Vault Secrets Officer"
  principal_id         = data.azurerm_client_config.current.object_id
}

locals {
  secrets_version = 1 # one more, and all of them are made anew at the next apply
}

ephemeral "random_password" "api_key" {
  length  = 40
  special = false
}

ephemeral "random_password" "database" {
  length  = 40
  special = false # it stands in an address
}

resource "azurerm_key_vault_secret" "api_keys" {
  # checkov:skip=CKV_AZURE_41:made anew by raising secrets_version; an expired key would stop the service on a date
  name             = "parallax-api-keys"
  key_vault_id     = azurerm_key_vault.this.id
  value_wo         = "default:${ephemeral.random_password.api_key.result}"
  value_wo_version = local.secrets_version
  content_type     = "lines name:key"
  depends_on       = [azurerm_role_assignment.admin_secrets]
}

resource "azurerm_key_vault_secret" "database_url" {
  # checkov:skip=CKV_AZURE_41:made anew by raising secrets_version; an expired password would stop the service on a date
  name             = "parallax-database-url"
  key_vault_id     = azurerm_key_vault.this.id
  value_wo         = "postgresql://parallax:${ephemeral.random_password.database.result}@${azurerm_postgresql_flexible_server.this.fqdn}/parallax?sslmode=require"
  value_wo_version = local.secrets_version
  content_type     = "address of a PostgreSQL"
  depends_on       = [azurerm_role_assignment.admin_secrets]
}
