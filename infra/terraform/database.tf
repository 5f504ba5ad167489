# What replicas share: jobs, rates, budgets, and studies of sweeps. Reachable from within the network alone.

resource "azurerm_private_dns_zone" "database" {
  name                = "${var.name}.private.postgres.database.azure.com"
  resource_group_name = azurerm_resource_group.this.name
  tags                = local.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "database" {
  name                = var.name
  private_dns_zone_id = azurerm_private_dns_zone.database.id
  virtual_network_id  = azurerm_virtual_network.this.id
  tags                = local.tags
}

resource "azurerm_postgresql_flexible_server" "this" {
  # checkov:skip=CKV_AZURE_136:jobs and budgets: two weeks of backups in the region do
  # checkov:skip=CKV2_AZURE_57:it stands in the network itself (delegated subnet), with public access off
  name                          = local.unique
  location                      = azurerm_resource_group.this.location
  resource_group_name           = azurerm_resource_group.this.name
  version                       = "17"
  sku_name                      = "B_Standard_B2s"
  storage_mb                    = 32768
  auto_grow_enabled             = true
  backup_retention_days         = 14
  delegated_subnet_id           = azurerm_subnet.database.id
  private_dns_zone_id           = azurerm_private_dns_zone.database.id
  public_network_access_enabled = false

  administrator_login               = "parallax"
  administrator_password_wo         = ephemeral.random_password.database.result
  administrator_password_wo_version = local.secrets_version
  tags                              = local.tags

  lifecycle {
    ignore_changes = [zone] # Azure chooses one
  }

  depends_on = [azurerm_private_dns_zone_virtual_network_link.database]
}

resource "azurerm_postgresql_flexible_server_database" "this" {
  name      = "parallax"
  server_id = azurerm_postgresql_flexible_server.this.id
}
