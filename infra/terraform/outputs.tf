output "helm_values" {
  description = "What the chart can't know: `terraform output -raw helm_values > values-azure.yaml`, after values-aks-cpu.yaml."
  value = yamlencode({
    image            = { repository = "${azurerm_container_registry.this.login_server}/parallax" }
    workloadIdentity = { clientId = azurerm_user_assigned_identity.service.client_id }
    keyVault = {
      name     = azurerm_key_vault.this.name
      tenantId = data.azurerm_client_config.current.tenant_id
    }
    models        = { blob = { url = "${azurerm_storage_account.this.primary_blob_endpoint}${azurerm_storage_container.models.name}" } }
    networkPolicy = { database = { cidrs = azurerm_subnet.database.address_prefixes } }
    route         = { hosts = [var.host] }
  })
}

output "resource_group" {
  description = "For az."
  value       = azurerm_resource_group.this.name
}

output "cluster" {
  description = "For `az aks get-credentials`."
  value       = azurerm_kubernetes_cluster.this.name
}

output "registry" {
  description = "For `az acr login` and `docker push`."
  value       = azurerm_container_registry.this.login_server
}

output "storage_account" {
  description = "For `az storage blob upload-batch`."
  value       = azurerm_storage_account.this.name
}

output "key_vault" {
  description = "For `az keyvault secret show`."
  value       = azurerm_key_vault.this.name
}

output "machine_learning_workspace" {
  description = "AZUREML_WORKSPACE_NAME."
  value       = azurerm_machine_learning_workspace.this.name
}

output "custom_vision_endpoints" {
  description = "PARALLAX_CUSTOM_VISION__ENDPOINT, and that of training. Their keys: `az cognitiveservices account keys list`."
  value       = { for kind, account in azurerm_cognitive_account.custom_vision : lower(kind) => account.endpoint }
}
