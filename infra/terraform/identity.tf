# Whom the pods are: an identity without a password, which the release's service account in its namespace can take on.

resource "azurerm_user_assigned_identity" "service" {
  name                = "${var.name}-service"
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  tags                = local.tags
}

resource "azurerm_federated_identity_credential" "service" {
  name                      = "${var.namespace}-${var.release}"
  user_assigned_identity_id = azurerm_user_assigned_identity.service.id
  issuer                    = azurerm_kubernetes_cluster.this.oidc_issuer_url
  subject                   = "system:serviceaccount:${var.namespace}:${var.release}"
  audience                  = ["api://AzureADTokenExchange"]
}

resource "azurerm_role_assignment" "service_secrets" {
  scope                = azurerm_key_vault.this.id
  role_definition_name = "Key Vault Secrets User"
  principal_id         = azurerm_user_assigned_identity.service.principal_id
}

resource "azurerm_role_assignment" "service_models" {
  scope                = azurerm_storage_container.models.id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = azurerm_user_assigned_identity.service.principal_id
}
